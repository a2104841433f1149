"""What mkdocs cannot do by itself: find the package, and show figures and tables of the README."""

import atexit
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {  # as in setup.py
    "zoo": "zoo",
    "zoo.kernels": "kernels",
    "zoo.plugins": "plugins",
    "zoo.registry": "registry",
}
FIGURES = "figures"


def package() -> Path:
    """Lay out the package as it is installed, a copy with all folders under zoo."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-site-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    skipped = shutil.ignore_patterns("__pycache__")
    for name, source in PACKAGES.items():
        target = folder.joinpath(*name.split("."))
        shutil.copytree(ROOT / source, target, ignore=skipped)
    return folder


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: Any) -> Any:
    """Tell mkdocstrings where the sources are; they are read and never imported."""
    handlers = config.plugins["mkdocstrings"].config.handlers
    handlers["python"]["paths"] = [str(package())]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the figures that lie beside the site's source."""
    for path in sorted((ROOT / "docs").glob("*.png")):
        target = f"{FIGURES}/{path.name}"
        files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put what `make readme` has made in place of ``<!-- readme: SECTION -->``."""
    depth = page.file.src_uri.count("/")

    def section(match: re.Match[str]) -> str:
        text = readme_section(match[1])
        return text.replace("](docs/", f"]({'../' * depth}{FIGURES}/")

    return re.sub(r"<!-- readme: (\w+) -->", section, markdown)


def readme_section(name: str) -> str:
    """Return what stands between the two marks of a section."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"README.md does not mark the section {name!r}")
    return found[1]
