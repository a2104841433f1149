"""Wheels made by tests, which pip installs without an index; one lends this Python's NumPy."""

import base64
import hashlib
import zipfile
from pathlib import Path

import numpy as np


def wheel(folder, name, version, files, *, entry_points=""):
    """Write a wheel of pure Python; `files` are path → text."""
    info = f"{name}-{version}.dist-info"
    tag = "py3-none-any"
    kind = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    everything = {
        **files,
        **({f"{info}/entry_points.txt": entry_points} if entry_points else {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": kind,
    }
    rows = [f"{path},{_hash(text)},{len(text.encode())}" for path, text in everything.items()]
    everything[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as file:
        for where, text in everything.items():
            file.writestr(where, text)
    return path


def borrowed_numpy(folder):
    """Write a wheel that lends this Python's NumPy, and nothing else of it, to an environment."""
    lent = folder / "lent"
    lent.mkdir(parents=True, exist_ok=True)
    home = Path(np.__file__).parent
    for part in (home, home.with_name("numpy.libs")):
        if part.is_dir() and not (lent / part.name).exists():
            (lent / part.name).symlink_to(part, target_is_directory=True)
    return wheel(folder, "borrowed_numpy", np.__version__, {"borrowed_numpy.pth": f"{lent}\n"})


def _hash(text):
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
