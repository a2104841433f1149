"""A new plugin package builds, installs, passes its own tests and is listed, without an edit."""

import subprocess
import sys
import tomllib
import zipfile

import pytest
from click.testing import CliRunner
from outsiders import python, zoo

from zoo._cli import main


def write(folder, *arguments):
    done = CliRunner().invoke(main, ["new-plugin", *arguments, "-o", str(folder)])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
@pytest.mark.parametrize("kind", [[], ["--dataset"]], ids=["encoder", "dataset"])
def test_it_builds_installs_and_passes_its_own_tests(tmp_path, kind):
    said = write(tmp_path, "my-lab-thing", *kind)
    package = tmp_path / "my-lab-thing"
    assert "pip install -e" in said
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    made = subprocess.run(
        [sys.executable, "-c", build], cwd=package, capture_output=True, text=True, timeout=300
    )
    assert made.returncode == 0, made.stderr
    site = tmp_path / "site"
    (wheel,) = package.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    listed = zoo(site, "list", "my-lab")
    assert "my-lab-thing" in listed.stdout, listed.stderr
    assert not listed.stderr
    plugins = zoo(site, "plugins", "--check")
    assert plugins.returncode == 0, plugins.stdout
    shown = zoo(site, "info", "my-lab-thing")
    assert "my-lab-thing 0.1.0" in shown.stdout
    code = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    tests = python(site, code, "-q", "-p", "no:cacheprovider", str(package))
    assert tests.returncode == 0, tests.stdout
    assert "failed" not in tests.stdout
    subject = (
        ["pixel-statistics", "-d", "my-lab-thing"] if kind else ["my-lab-thing", "-d", "phantom"]
    )
    command = ["evaluate", *subject, "-c", "constant", "--no-cache", "-o", str(tmp_path / "report")]
    done = zoo(site, *command)
    assert done.returncode == 0, done.stderr
    assert "beats all controls in" in done.stdout


def test_its_files_are_sound_python_and_toml(tmp_path):
    for name, kind in (("a", []), ("b-2", ["--dataset"])):
        write(tmp_path, name, *kind)
        for path in (tmp_path / name).rglob("*.py"):
            compile(path.read_text(), str(path), "exec")
            assert "$" not in path.read_text()
        project = tomllib.loads((tmp_path / name / "pyproject.toml").read_text())
        package = name.replace("-", "_")
        assert project["project"]["entry-points"]["zoo"] == {name: f"{package}.records"}


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("My_Lab", [], "cannot name a package"),
        ("2fast", [], "cannot name a package"),
        ("a--b", [], "cannot name a package"),
        ("../evil", [], "cannot name a package"),
        ("constant", [], "an encoder called 'constant' is known"),
        ("phantom", ["--dataset"], "a dataset called 'phantom' is known"),
        ("there", [], "is there already"),
    ],
)
def test_names_that_will_not_do_are_refused(tmp_path, name, kind, words):
    (tmp_path / "there").mkdir()
    done = CliRunner().invoke(main, ["new-plugin", name, *kind, "-o", str(tmp_path)])
    assert done.exit_code == 1
    assert words in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
