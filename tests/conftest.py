"""Keep tests away from the user's caches and from the network."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:  # beside others, so one thread each
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
_SCRATCH = tempfile.mkdtemp(prefix="zoo-tests-")
_OWNER = os.getpid()


@atexit.register
def _remove_scratch() -> None:
    """Remove what tests have cached, unless this is a fork."""
    if os.getpid() == _OWNER:
        shutil.rmtree(_SCRATCH, ignore_errors=True)


# The hub client reads these once, when it is first imported.
os.environ["HF_HOME"] = str(Path(_SCRATCH, "hf"))
os.environ["ZOO_CACHE"] = str(Path(_SCRATCH, "zoo"))
os.environ["ZOO_PLUGINS"] = ""
for _name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN", "ZOO_DEBUG", "ZOO_PLUGINS_STRICT"):
    os.environ.pop(_name, None)

ROOT = Path(__file__).resolve().parent.parent
# Files that take longest come first: the last of them would keep one worker waiting for minutes.
LONGEST = ("test_golden_table.py", "test_report.py", "test_verdict.py", "test_trained_network.py")


# Kernels are not counted, and other tests reach what benchmarks call: counting lines would take a
# third of their time.
NOT_COUNTED = ("kernels", "benchmarks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the files that take longest to the front, and count lines only where that tells."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if item.path.parent.name in NOT_COUNTED:
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the recorded outputs of the authors' code."""
    return ROOT / "tests" / "golden" / "chadavit-tiny"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images, or a skip."""
    places = [os.environ.get("ZOO_TEST_DATA"), ROOT.parent / "shared" / "data"]
    for place in places:
        if place and Path(place, "bbbc013").is_dir():
            return Path(place)
    pytest.skip("no real images: set ZOO_TEST_DATA to a folder that holds bbbc013/ and fields/")
