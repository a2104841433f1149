"""Environments with packages that ours does not have: pycytominer, copairs, scanpy; Ray."""

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("pycytominer>=1.7", "copairs>=0.5", "scanpy>=1.11", "pyarrow")


def python_of(folder, packages=PACKAGES, *, given="ZOO_TEST_TOOLS", borrow=False):
    """Path of a Python that has packages, or None where they cannot be installed.

    The environment variable `given` names one that is there already. With `borrow` it has the
    packages of this Python as well.
    """
    if os.environ.get(given):
        return Path(os.environ[given])
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = Path(folder, "bin", "python")
    if borrow:
        (site,) = Path(folder).glob("lib/python*/site-packages")
        own = [path for path in sys.path if path.endswith("site-packages")]
        lines = [f"import site; site.addsitedir({path!r})\n" for path in own]
        (site / "borrowed.pth").write_text("".join(lines))
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        made = subprocess.run([*install, *packages], capture_output=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return None
    return python if made.returncode == 0 else None


def run(python, code, *arguments):
    """What a script prints."""
    command = [python, "-P", "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
