"""Outside packages at the command line: each fault is told with its plugin, and breaks no other."""

import os
import re
import subprocess
import sys
import textwrap
import time
import venv
from pathlib import Path

import numpy as np
import pytest
from outsiders import ENCODER, install, python, zoo
from PIL import Image
from wheels import wheel

SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"
PACKAGED = ("missing_plugin", "exits_plugin", "clash_plugin", "old_plugin")
GOOD = ENCODER.format(name="brightness", module="good_plugin")
BAD = {
    "exits_plugin": ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    "interrupts_plugin": ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "missing_plugin": ("import no_such_module\n", "no_such_module"),
    "old_plugin": ("ZOO_API_VERSION = 0\nimport no_such_module\n", "update the plugin"),
    "clash_plugin": (
        ENCODER.format(name="constant", module="clash_plugin"),
        "it claims the encoder name 'constant', which zoo.plugins.controls",
    ),
    "newer_plugin": ("ZOO_API_VERSION = 9\nimport no_such_module\n", "update microscopy-zoo"),
    "skips_plugin": ("import pytest\npytest.importorskip('no_such_module')\n", "Skipped"),
    "thief_plugin": (
        ENCODER.format(name="untrained:resnet18/concat", module="thief_plugin"),
        "names that begin with untrained: belong to the plugin zoo.plugins.encoders",
    ),
    "slip_plugin": (
        ENCODER.format(name="slip", module="slip_plugin").replace('"Mean of all pixels"', "None"),
        "summary of slip is None",
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    install(site, "good_plugin", GOOD, version="2.0")
    for module, (body, _) in BAD.items():
        install(site, module, body)
    install(
        site,
        "loud_plugin",
        "    print('welcome')" + ENCODER.format(name="loud", module="loud_plugin"),
    )
    return site


def test_every_fault_is_told_with_its_plugin_and_the_good_one_goes_on(site):
    done = zoo(site, "plugins")
    assert done.returncode == 1
    for module, (_, cause) in BAD.items():
        (line,) = [x for x in done.stdout.splitlines() if x.strip().startswith(module)]
        assert f"{module.replace('_', '-')} 1.2" in line
        assert cause in line
        assert re.search(r"update|uninstall|install it", line), line
    assert "it needs no_such_module, which is not installed: install it" in done.stdout
    assert "uninstall clash-plugin or the other one" in done.stdout
    assert "it prints 'welcome'" in done.stdout
    (line,) = [x for x in done.stdout.splitlines() if x.strip().startswith("good_plugin")]
    assert line.split()[-1] == "ok"


@pytest.mark.parametrize("pattern", ["", "bright", "nothing-like-it"])
def test_a_list_says_that_plugins_were_set_aside(site, pattern):
    done = zoo(site, "list", *([pattern] if pattern else []))
    assert f"{len(BAD)} plugin(s) were set aside: see 'zoo plugins'" in done.stderr
    assert ("brightness" in done.stdout) == (pattern != "nothing-like-it")
    assert "welcome" not in done.stdout
    assert done.returncode == (pattern == "nothing-like-it")


def test_what_a_plugin_set_aside_offered_is_told(site):
    done = zoo(site, "info", "untrained:resnet18/mean")
    assert "zoo.plugins.encoders" in done.stdout, done.stderr
    done = zoo(site, "list", ZOO_PLUGINS="good_plugin,mylb")
    assert "ZOO_PLUGINS names mylb: no such plugin is installed" in done.stderr


RAISING = ENCODER.format(name="{0}", module="{0}_plugin").replace(
    "        import torch\n", "        {1}\n"
)
USED = {
    "licence": (
        "raise RuntimeError('no licence file')",
        "RuntimeError: no licence file; update or",
    ),
    "needy": ("import cellpose_not_here", "it needs cellpose_not_here, which is not installed"),
    "leaver": ("raise SystemExit(4)", "SystemExit: 4"),
}


@pytest.fixture(scope="module")
def raising(tmp_path_factory):
    site = tmp_path_factory.mktemp("raising")
    install(site, "good_plugin", GOOD)
    for name, (line, _) in USED.items():
        body = ENCODER.format(name=name, module=f"{name}_plugin")
        install(site, f"{name}_plugin", body.replace("import torch\n", line + "\n", 1))
    late = ENCODER.format(name="late", module="late_plugin")
    install(
        site,
        "late_plugin",
        late.replace("rows = [", "raise KeyError('x')\n                rows = ["),
    )
    slow = ENCODER.format(name="slow", module="slow_plugin")
    install(site, "slow_plugin", slow.replace("import torch\n", "import time; time.sleep(99)\n", 1))
    killed = ENCODER.format(name="killed", module="killed_plugin")
    install(site, "killed_plugin", killed.replace("import torch\n", "import os; os._exit(7)\n", 1))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(site / "a.png")
    return site


@pytest.mark.parametrize("name", USED)
def test_a_raising_builder_is_never_called_a_bug_of_ours(raising, name):
    done = zoo(raising, "embed", str(raising / "a.png"), "-e", name, "-o", str(raising / "x.csv"))
    assert done.returncode == 1
    for word in (USED[name][1], f"{name}_plugin ({name}-plugin 1.2)"):
        assert word in done.stderr
    assert "a bug" not in done.stderr


FAMILY = """
    from zoo import plugin

    @plugin.hookimpl
    def zoo_encoder_families():
        yield plugin.EncoderFamily(scheme="moody", resolver="moody_plugin:resolve", summary="s")

    @plugin.hookimpl
    def zoo_datasets():
        task = plugin.Task(kind="knn", target="a", title="t")
        yield plugin.DatasetSpec(
            name="moody-cells",
            builder="moody_plugin:open_cells",
            summary="s",
            design=plugin.Design(label="a", group="b", tasks=(task,)),
        )

    def resolve(text):
        raise KeyError(text)

    def open_cells(spec, *, path):
        raise IndexError("no cells")
"""


def test_nor_are_raising_resolvers_and_datasets(tmp_path):
    install(tmp_path, "moody_plugin", FAMILY)
    asked = {
        "info": ["info", "moody:x"],
        "evaluate": ["evaluate", "constant", "-d", "moody-cells", "-o", str(tmp_path / "r")],
    }
    for command in asked.values():
        done = zoo(tmp_path, *command)
        assert done.returncode == 1
        assert "moody_plugin (moody-plugin 1.2)" in done.stderr
        assert "update or uninstall moody-plugin" in done.stderr
        assert "a bug" not in done.stderr


def test_nor_is_one_that_raises_when_it_is_used(raising):
    done = zoo(raising, "embed", str(raising / "a.png"), "-e", "late", "-o", str(raising / "x.csv"))
    assert "KeyError: 'x' (raised by the plugin late_plugin (late-plugin 1.2)" in done.stderr
    assert "a bug" not in done.stderr


@pytest.mark.long
def test_a_check_builds_each_plugin_in_a_process_with_a_time_limit(raising):
    start = time.monotonic()
    done = zoo(raising, "plugins", "--check", "--limit", "25")
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    lines = {row[0]: " ".join(row) for row in rows}
    assert lines["good_plugin"].split()[-1] == "ok"
    assert "takes more than 25 seconds" in lines["slow_plugin"]
    assert "ended with status 7" in lines["killed_plugin"]
    for name, (_, cause) in USED.items():
        assert cause.split(";")[0] in " ".join(done.stdout.split())
        assert f"{name}_plugin" in lines
    assert time.monotonic() - start < 300


PROVENANCE = """
import json, sys
import numpy as np
import zoo
image = np.full((1, 64, 64), 7, np.uint8)
found = zoo.embed([image], "brightness")
json.dump({**found.provenance, "value": float(found.matrix[0, 0])}, sys.stdout)
"""


@pytest.mark.long
def test_provenance_and_cache_tell_one_release_of_a_plugin_from_the_next(tmp_path):
    import json
    import shutil

    def embedded(site):
        done = python(site, PROVENANCE, ZOO_CACHE=str(tmp_path / "cache"))
        return json.loads(done.stdout), done.stderr

    site = tmp_path / "site"
    install(site, "good_plugin", GOOD)
    first, _ = embedded(site)
    assert first["plugin"] == "good_plugin (good-plugin 1.2)"
    assert len(first["plugin_sha256"]) == 64
    assert embedded(site)[0] == first
    shutil.move(site / "good_plugin-1.2.dist-info", site / "good_plugin-1.3.dist-info")
    meta = site / "good_plugin-1.3.dist-info" / "METADATA"
    meta.write_text(meta.read_text().replace("1.2", "1.3"))
    second, _ = embedded(site)
    assert second["plugin"] == "good_plugin (good-plugin 1.3)"
    assert second["plugin_sha256"] == first["plugin_sha256"]
    body = (site / "good_plugin.py").read_text()
    (site / "good_plugin.py").write_text(body.replace("planes.mean()", "(5 * planes.mean())"))
    third, _ = embedded(site)
    assert third["value"] == pytest.approx(5 * first["value"])
    assert third["plugin_sha256"] != first["plugin_sha256"]
    (site / "good_plugin-1.3.dist-info" / "top_level.txt").write_text("good_core\ngood_plugin\n")
    hashes = {third["plugin_sha256"]}
    for text in ("GAIN = 1\n", "GAIN = 2\nraise RuntimeError('imported')\n"):
        (site / "good_core.py").write_text(text)  # another package of the same distribution
        hashes.add(embedded(site)[0]["plugin_sha256"])
    assert len(hashes) == 3


@pytest.mark.slow
def test_a_listing_stays_fast_with_fifty_plugins(tmp_path):
    """Fifty plugins take less than the listing itself, in seconds of the processor."""

    def cost():
        before = sum(os.times()[2:4])
        done = zoo(tmp_path, "list")
        return sum(os.times()[2:4]) - before, done

    alone = min(cost()[0] for _ in range(3))
    for k in range(50):
        body = ENCODER.format(name=f"encoder-{k}", module=f"fifty_{k}_plugin")
        install(tmp_path, f"fifty_{k}_plugin", body)
    with_fifty, done = min((cost() for _ in range(3)), key=lambda found: found[0])
    assert "encoder-49" in done.stdout, done.stderr
    assert with_fifty < 2 * alone


COUNT = """
import importlib.metadata, json, sys
from collections import Counter
from click.testing import CliRunner
from zoo._cli import main

parsed = Counter()
metadata = importlib.metadata.PathDistribution.metadata

class Counted(importlib.metadata.PathDistribution):
    @property
    def metadata(self):
        parsed[str(self._path)] += 1
        return metadata.fget(self)

importlib.metadata.PathDistribution.metadata = Counted.metadata
done = CliRunner().invoke(main, ["list"])
found = {"modules": sorted(sys.modules), "output": done.output,
         "parsed": {k: n for k, n in parsed.items() if "fifty_" in k}}
print(json.dumps(found))
"""


def test_a_listing_of_fifty_plugins_imports_and_reads_each_once(tmp_path):
    import json

    alone = json.loads(python(tmp_path, COUNT).stdout)
    for k in range(50):
        body = ENCODER.format(name=f"encoder-{k}", module=f"fifty_{k}_plugin")
        install(tmp_path, f"fifty_{k}_plugin", body)
    found = json.loads(python(tmp_path, COUNT).stdout)
    assert "encoder-49" in found["output"]
    more = set(found["modules"]) - set(alone["modules"])
    assert more == {f"fifty_{k}_plugin" for k in range(50)}
    heavy = {"torch", "numpy", "pandas", "timm", "huggingface_hub.file_download", "yaml", "asyncio"}
    assert not heavy & set(found["modules"])
    assert len(found["parsed"]) == 50
    assert set(found["parsed"].values()) == {1}


@pytest.mark.slow
def test_packages_in_a_clean_environment(tmp_path):
    """Wheels, installed by pip: the good one evaluates, and the others are named."""
    place = tmp_path / "environment"
    venv.create(place, with_pip=True)
    home = Path(subprocess.check_output([place / "bin" / "python", "-c", SITE], text=True).strip())
    lent = [p for p in sys.path if Path(p).name == "site-packages"]
    lines = [f"import site; site.addsitedir({p!r})\n" for p in lent]
    (home / "lent.pth").write_text("".join(lines))
    wanted = {"good_plugin": GOOD} | {name: BAD[name][0] for name in PACKAGED}
    files = [
        wheel(
            tmp_path,
            module,
            "1.2",
            {f"{module}.py": textwrap.dedent(body)},
            entry_points=f"[zoo]\n{module} = {module}\n",
        )
        for module, body in wanted.items()
    ]
    pip = [place / "bin" / "python", "-I", "-m", "pip", "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, *files], check=True, capture_output=True)
    environ = {**os.environ, "COLUMNS": "600", "OMP_NUM_THREADS": "1"}
    environ.pop("ZOO_PLUGINS", None)

    def run(*arguments):
        return subprocess.run(
            [place / "bin" / "python", "-P", "-m", "zoo", *arguments],
            capture_output=True,
            text=True,
            env=environ,
            cwd=tmp_path,
        )

    said = run("plugins")
    for name in PACKAGED:
        (line,) = [x for x in said.stdout.splitlines() if x.strip().startswith(name)]
        assert f"{name} 1.2" in line
        assert BAD[name][1] in line
    done = run("evaluate", "brightness", "-d", "phantom", "-c", "constant", "--no-cache")
    assert done.returncode == 0, done.stderr
    assert "brightness" in done.stdout
