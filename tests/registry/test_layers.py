"""Imports point one way, and the light parts stay light."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
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
# The rooms of zoo/: each imports only itself and what stands before it. The verbs, zoo/*.py, have
# no folder of their own.
VERBS = "verbs"
LAYERS = (
    "metrics",
    "_images",
    "_environments",
    "_encoders",
    "_data",
    "_embedding",
    "_training",
    "_evaluation",
    "_diagnostics",
    "_report",
    VERBS,
    "_cli",
)
FACES = {"zoo", "zoo.__init__", "zoo.__main__"}


def module_of(path: Path, root: Path = ROOT) -> str:
    """Dotted name under which a file is imported."""
    folder, *rest = path.relative_to(root).with_suffix("").parts
    return ".".join([PACKAGES.get(folder, folder), *rest]).removesuffix(".__init__")


def imported(path: Path, *, everywhere: bool, root: Path = ROOT) -> set[str]:
    """Absolute names that a file imports: anywhere, or when it is itself imported."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if everywhere else list(tree.body)
    package = module_of(path.with_name("__init__.py"), root)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            home = ".".join(filter(None, [above, node.module]))
            names.add(home)
            names |= {f"{home}.{alias.name}" for alias in node.names}
    return names


def files(folder: str, root: Path = ROOT) -> list[Path]:
    return sorted((root / folder).rglob("*.py"))


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def layer_of(name: str) -> str | None:
    """Room of zoo/ that a dotted name belongs to; None for the foundations and for strangers."""
    top, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    if top != "zoo" or room in ("registry", "kernels", "plugins"):
        return None
    return room if room in LAYERS else VERBS


def arrows_up(folder: str, root: Path = ROOT) -> list[str]:
    """Imports of a folder that the order of the four folders forbids."""
    return [
        f"{path.relative_to(root)} imports {name}"
        for path in files(folder, root)
        for name in imported(path, everywhere=True, root=root)
        for banned in FORBIDDEN[folder]
        if within(name, banned)
        and not (within(name, PACKAGES[folder]) and within(PACKAGES[folder], banned))
    ]


def private_names(folder: str, root: Path = ROOT) -> list[str]:
    """Imports of private names of zoo in files that must live without."""
    return [
        f"{path.relative_to(root)} imports {name}"
        for path in files(folder, root)
        for name in imported(path, everywhere=True, root=root)
        if within(name, "zoo") and any(p.startswith("_") for p in name.split("."))
    ]


def inner_arrows_up(root: Path = ROOT) -> list[str]:
    """Imports inside zoo/ that the order of its rooms forbids."""
    found = []
    for path in files("zoo", root):
        own = module_of(path, root)
        if own in FACES:
            continue
        layer = layer_of(own)
        for name in imported(path, everywhere=True, root=root):
            other = layer_of(name) if name != "zoo" else VERBS
            if other is not None and LAYERS.index(other) > LAYERS.index(layer):
                found.append(f"{path.relative_to(root)} imports {name}")
    return found


def circle(root: Path = ROOT) -> list[str]:
    """Modules that import each other in a circle, wherever in a file; none if there is none."""
    known = {module_of(path, root): path for folder in PACKAGES for path in files(folder, root)}
    graph = {}
    for own, path in known.items():
        names = {
            n if n in known else n.rpartition(".")[0]
            for n in imported(path, everywhere=True, root=root)
        }
        # A package that gathers the names of its files is no circle, and zoo/ itself is lazy.
        faces = {own, "zoo"} | {own.rsplit(".", k)[0] for k in range(own.count("."))}
        graph[own] = (names & set(known)) - faces if own != "zoo" else set()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_arrow_points_up(folder):
    assert files(folder)
    assert not arrows_up(folder)


def test_no_modules_import_each_other():
    assert not circle()


def test_rooms_of_zoo_import_only_lower_rooms():
    assert not inner_arrows_up()


@pytest.mark.parametrize("folder", MODULE_LEVEL_ONLY)
def test_foundations_import_only_what_they_may(folder):
    for path in files(folder):
        for name in imported(path, everywhere=False):
            top = name.partition(".")[0]
            if within(name, PACKAGES[folder]):
                continue
            assert top in STDLIB | MODULE_LEVEL_ONLY[folder], f"{path} imports {name}"


def test_plugins_use_public_names_only():
    assert not private_names("plugins")


def test_benchmarks_use_public_names_only():
    assert files("benchmarks")
    # Tiles and launches are private, and the scripts that choose or mock them have to reach them.
    reaching = tuple(
        f"benchmarks/{name}.py" for name in ("tune_ragged_attention", "gpu_layers", "host_time")
    )
    found = [f for f in private_names("benchmarks") if not f.startswith(reaching)]
    assert not found


@pytest.mark.parametrize(
    ("file", "line", "check"),
    [
        (
            "plugins/sub/bad.py",
            "from zoo._encoder import Encoder",
            lambda r: private_names("plugins", r),
        ),
        (
            "plugins/bad.py",
            "def f():\n    from zoo.registry import fetch",
            lambda r: arrows_up("plugins", r),
        ),
        ("registry/deep/er/bad.py", "import zoo", lambda r: arrows_up("registry", r)),
        (
            "benchmarks/bad.py",
            "from zoo._evaluation.tasks import ask",
            lambda r: private_names("benchmarks", r),
        ),
        ("kernels/bad.py", "from ..registry import fetch", lambda r: arrows_up("kernels", r)),
        ("zoo/_report/bad.py", "from zoo.plugins import phantom", lambda r: arrows_up("zoo", r)),
        ("zoo/metrics/bad.py", "from .._images.read import Image", inner_arrows_up),
        ("zoo/_report/bad.py", "from zoo._cli import main", inner_arrows_up),
        ("zoo/_data/bad.py", "from .._evaluate import evaluate", inner_arrows_up),
    ],
)
def test_planted_violations_are_seen(tmp_path, file, line, check):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text("import numpy\n")
    assert not check(tmp_path)
    path.write_text(line)
    assert check(tmp_path)


def test_a_planted_circle_is_seen(tmp_path):
    for name, line in {
        "a": "from .b import f",
        "b": "def f():\n    from .c import g",
        "c": "",
    }.items():
        path = tmp_path / "zoo" / "_data" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line)
    assert not circle(tmp_path)
    path.write_text("from .a import h")
    assert {"zoo._data.a", "zoo._data.b", "zoo._data.c"} <= set(circle(tmp_path))


@pytest.mark.parametrize(
    "code",
    [
        "import zoo",
        "import zoo; zoo.plugin.EncoderSpec; zoo.plugin.hookimpl; zoo.errors.ImageError",
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


def test_importing_zoo_imports_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); import zoo; new = set(sys.modules) - before\n"
        "new = {name.partition('.')[0] for name in new} - set(sys.stdlib_module_names)\n"
        "assert new == {'zoo', 'lazy_loader'}, new"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
