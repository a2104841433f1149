"""The pages of docs/site: their Python runs, and their reference has every public name."""

import re
import sys
from pathlib import Path

import pytest
import zoo.kernels
import zoo.registry

import zoo

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "docs" / "site"
# A block with a title is a file of that name; one in braces is shown and not run.
BLOCK = re.compile(r"^```python(?: title=\"([^\"]+)\")?\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [p for p in sorted(SITE.rglob("*.md")) if BLOCK.search(p.read_text())]
# Named on other pages, or members of a module that a page shows as a whole.
WHOLE = {"__version__", "errors", "kernels", "metrics", "plugin", "registry", "testing"}


def pages(folder: str) -> str:
    return "\n".join(p.read_text() for p in (SITE / folder).glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(SITE)))
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = {"__name__": "__page__"}
    for title, code in BLOCK.findall(page.read_text()):
        if title:
            path = tmp_path / title
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
        else:
            exec(compile(code, f"{page.name}, {code.splitlines()[0]}", "exec"), names)
    for name in [n for n in sys.modules if n.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "module", [zoo, zoo.metrics, zoo.plugin, zoo.registry], ids=lambda m: m.__name__
)
def test_every_public_name_has_a_reference(module):
    directives = re.findall(r"^::: (\S+)", pages("reference"), re.MULTILINE)
    shown = {name.rpartition(".")[2] for name in directives} | set(zoo.errors.__all__)
    untold = {"ControlKind", "Role", "Scaling"}  # types of a parameter, told with it
    assert set(module.__all__) <= shown | WHOLE | untold


def test_modules_that_are_shown_as_a_whole_name_what_they_hold():
    text = pages("reference")
    for module in (zoo.errors, zoo.kernels, zoo.testing):
        assert f"::: {module.__name__}\n" in text
        assert module.__doc__


def test_every_command_of_the_pages_exists():
    from zoo._cli import main

    lines = [line for p in SITE.rglob("*.md") for line in p.read_text().splitlines()]
    used = {line.split()[1] for line in lines if line.startswith("zoo ")}
    assert used
    assert used <= set(main.commands)


def test_pages_name_no_other_hosts_than_the_readme():
    known = set(re.findall(r"https?://([\w.-]+)", (ROOT / "README.md").read_text()))
    for page in SITE.rglob("*.md"):
        assert set(re.findall(r"https?://([\w.-]+)", page.read_text())) <= known, page
