"""Height and width of an image file, without its pixels where its head says them."""

from pathlib import Path

from .read import named_errors
from .tiff import SUFFIXES, unlogged

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


def image_size(path: str | Path) -> tuple[int, int] | None:
    """Return height and width; None where the head of the file does not tell them.

    Raises
    ------
    ImageError
        Naming the file, if it is missing or broken.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, *_PICTURES):
        return None
    with named_errors(path):
        if suffix in _PICTURES:
            from PIL import Image as Picture

            with Picture.open(path) as picture:
                return picture.height, picture.width
        import tifffile

        with unlogged("tifffile"), tifffile.TiffFile(path) as file:
            series = file.series[0]
            # Pages of other axes, such as rows and channels, are no planes.
            planes = series.axes.replace("S", "").endswith("YX")
            height, width = series.axes.find("Y"), series.axes.find("X")
            return (series.shape[height], series.shape[width]) if planes else None
