"""Imports point one way, and the light parts stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STDLIB = set(sys.stdlib_module_names)
FORBIDDEN = {
    "registry": ("zoo", "zoo.kernels", "zoo.plugins"),
    "kernels": ("zoo", "zoo.registry", "zoo.plugins"),
    "zoo": ("zoo.plugins",),
    "plugins": ("zoo.registry",),
}
PACKAGES = {"zoo": "zoo", **{f: f"zoo.{f}" for f in ("kernels", "plugins", "registry")}}
MODULE_LEVEL_ONLY = {"registry": {"pluggy"}, "kernels": {"torch", "triton"}}


def imported(path: Path, *, everywhere: bool) -> set[str]:
    """Absolute names that a file imports: anywhere, or when it is itself imported."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if everywhere else list(tree.body)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = PACKAGES[path.parent.name].rsplit(".", node.level - 1)[0]
            home = ".".join(filter(None, [package if node.level else "", node.module]))
            names.add(home)
            names |= {f"{home}.{alias.name}" for alias in node.names}
    return names


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).glob("*.py"))


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_arrow_points_up(folder):
    assert files(folder)
    for path in files(folder):
        for name in imported(path, everywhere=True):
            for banned in FORBIDDEN[folder]:
                own = PACKAGES[folder]
                if name == own or name.startswith(own + "."):
                    continue
                is_whole = banned == "zoo" and (name == "zoo" or name.startswith("zoo."))
                is_part = banned != "zoo" and (name == banned or name.startswith(banned + "."))
                assert not is_whole, f"{path} imports {name}"
                assert not is_part, f"{path} imports {name}"


@pytest.mark.parametrize("folder", MODULE_LEVEL_ONLY)
def test_foundations_import_only_what_they_may(folder):
    for path in files(folder):
        for name in imported(path, everywhere=False):
            top = name.partition(".")[0]
            if name == PACKAGES[folder] or name.startswith(PACKAGES[folder] + "."):
                continue
            assert top in STDLIB | MODULE_LEVEL_ONLY[folder], f"{path} imports {name}"


def test_plugins_use_public_names_only():
    for path in files("plugins"):
        for name in imported(path, everywhere=True):
            if name.startswith("zoo."):
                parts = name.split(".")
                assert not any(p.startswith("_") for p in parts), f"{path} imports {name}"


@pytest.mark.parametrize(
    "code",
    [
        "import zoo",
        "import zoo; zoo.EncoderSpec; zoo.hookimpl; zoo.ImageError",
        "from zoo.registry import registry; registry()",
        "from click.testing import CliRunner; from zoo._cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "result = CliRunner().invoke(main, ['list'])\n"
        "assert result.exit_code == 0 and 'chadavit-untrained' in result.output, result.output\n"
        "result = CliRunner().invoke(main, ['info', 'chadavit-idrcell100k'])\n"
        "assert result.exit_code == 0 and '91a41123650ccff1' in result.output, result.output",
    ],
)
def test_listing_imports_no_torch(code):
    check = (
        "\nimport sys; heavy = {'torch', 'timm', 'pandas', 'skimage', 'scipy'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", f"{code}{check}\nassert not heavy, heavy"],
        check=True,
        timeout=60,
    )


def test_importing_zoo_imports_the_standard_library_alone():
    code = (
        "import sys; before = set(sys.modules); import zoo; new = set(sys.modules) - before\n"
        "new = {name.partition('.')[0] for name in new} - set(sys.stdlib_module_names)\n"
        "assert new == {'zoo'}, new"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
