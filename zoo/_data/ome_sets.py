"""OME-TIFF images that are spread over several files: one image, once."""

import re
from pathlib import Path

from zoo.registry import DataError

from .._images.tiff import SUFFIXES, first_description

_FILE = re.compile(r'\bFileName\s*=\s*"([^"]+)"')
_MASTER = re.compile(r'<BinaryOnly\b[^>]*\bMetadataFile\s*=\s*"([^"]+)"')


def without_parts(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files of which each is an image, and those that belong to one of these.

    Parameters
    ----------
    paths
        Files of a folder, in order.

    Raises
    ------
    DataError
        If the planes of an image are described in a file of their own, which is not read.
    """
    there = set(paths)
    parts: set[Path] = set()
    for path in paths:
        if path in parts or path.suffix.lower() not in SUFFIXES:
            continue
        text = first_description(path)
        master = _MASTER.search(text)
        if master is None:
            # Of files that each describe the whole set the first stands for it.
            named = (
                {path.parent / name for name in _FILE.findall(text)} if "<OME" in text else set()
            )
            parts |= (named & there) - {path}
        elif path.parent / master[1] in there:
            parts.add(path)
        else:
            known = Path(master[1]).suffix.lower() in SUFFIXES
            raise DataError(
                f"{path} is one file of an image that {master[1]} describes, which is not "
                f"{'there' if known else 'read'}: save the image as one OME-TIFF"
            )
    return [p for p in paths if p not in parts], [p for p in paths if p in parts]
