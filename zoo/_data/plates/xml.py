"""Elements of XML files, whatever their namespace."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from zoo.registry import DataError


def elements(path: Path, *names: str) -> Iterator[ElementTree.Element]:
    """Yield the elements of some local names, each with what it holds, as they end.

    What was yielded is emptied afterwards, since an index can be larger than memory.

    Raises
    ------
    DataError
        If the file is not well-formed.
    """
    try:
        for _, element in ElementTree.iterparse(path, events=("end",)):
            if local(element.tag) in names:
                yield element
                element.clear()
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is not well-formed XML ({error}); is it truncated?") from error


def whole(path: Path) -> ElementTree.Element:
    """Return the root of a small file.

    Raises
    ------
    DataError
        If the file is not well-formed.
    """
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is not well-formed XML ({error}); is it truncated?") from error


def local(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition("}")[2]


def attributes(element: ElementTree.Element) -> dict[str, str]:
    """Return attributes by local names."""
    return {local(name): value for name, value in element.attrib.items()}


def children(element: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Return the children by local names, the first of each name."""
    found: dict[str, ElementTree.Element] = {}
    for child in element:
        found.setdefault(local(child.tag), child)
    return found
