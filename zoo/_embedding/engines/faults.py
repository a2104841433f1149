"""What went wrong in a worker, on its way to the process that asked."""

from zoo.registry import DataError, ZooError


def describe(problem: Exception) -> dict[str, str]:
    """Return plain values that `raise_again` takes."""
    if isinstance(problem, MemoryError):
        return {"error": "memory ran out", "kind": "memory"}
    if isinstance(problem, ZooError):
        return {"error": str(problem), "kind": "data"}
    return {"error": f"{type(problem).__name__}: {problem}", "kind": "bug"}


def raise_again(error: str, kind: str) -> None:
    """Raise what `describe` described.

    Raises
    ------
    MemoryError, DataError
        If it was one of these, or another error of zoo.
    RuntimeError
        For anything else: a fault of ours, or of a plugin.
    """
    if kind == "memory":
        raise MemoryError(error)
    if kind == "data":
        raise DataError(error)
    raise RuntimeError(f"a worker raised {error}")
