"""What a release says of itself is the same everywhere."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert re.fullmatch(rf"{re.escape(version)} - (unreleased|\d{{4}}-\d\d-\d\d)", newest)
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_locks_name_no_place():
    for lock in ("lock.txt", "oldest.txt"):
        text = (ROOT / "requirements" / lock).read_text()
        assert "torch==" in text
        assert not re.search(r"://|--|@ ", text)
