"""Microscopy image encoders for any number of channels, evaluated beside trivial controls.

Names are imported when they are first used, so that ``import zoo`` costs milliseconds;
``__init__.pyi`` lists where each is defined.
"""

from typing import Any

import lazy_loader

_find, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("microscopy-zoo")
    return _find(name)


def __dir__() -> list[str]:
    return __all__
