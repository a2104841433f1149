"""An environment with pycytominer, copairs and scanpy, which ours does not have."""

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("pycytominer>=1.7", "copairs>=0.5", "scanpy>=1.11", "pyarrow")


def python_of(folder):
    """Path of a Python that has them, or None where they cannot be installed.

    ``ZOO_TEST_TOOLS`` names one that is there already.
    """
    given = os.environ.get("ZOO_TEST_TOOLS")
    if given:
        return Path(given)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = Path(folder, "bin", "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        made = subprocess.run([*install, *PACKAGES], capture_output=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return None
    return python if made.returncode == 0 else None


def run(python, code, *arguments):
    """What a script prints."""
    command = [python, "-P", "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
