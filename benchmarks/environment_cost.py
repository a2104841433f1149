"""An encoder in an environment of its own beside the same one in this process, by turns.

Usage: python benchmarks/environment_cost.py [--rounds 9] [--out FILE.csv]

A call of `encode` on 32 prepared images of 3 channels at 224 px. The environment borrows the
packages of this Python, so that both run the same code; embeddings must be equal before a time
counts. `mean` computes next to nothing: its difference is what a call costs. Medians of rounds; the
cost is the median of the differences within a round. Processor seconds, of both processes together
and on average, are there because other programs disturb them less.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import kept_rows
import torch
from machine import machine

import zoo
from zoo import plugin

NETWORKS = ("vit_tiny_patch16_224", "vit_small_patch16_224", "mean")
IMAGES, SIDE = 32, 224
FIELDS = (
    *("network", "images", "here_s", "environment_s", "cost_s", "cost_percent"),
    *("here_cpu_s", "environment_cpu_s", "cost_cpu_percent", "rounds"),
    *("device", "torch", "threads", "commit"),
)
RECORDS = """
from zoo import plugin

@plugin.hookimpl
def zoo_encoders():
    yield plugin.EncoderSpec(
        name="borrowed", builder="environment_networks:build", summary="s",
        environment=plugin.Environment(requirements={requirements!r}),
    )
"""


def make_environment(folder: Path) -> plugin.Environment:
    """Make an environment that borrows all packages of this Python, as a user would."""
    info = "borrowed_packages-1.0.dist-info"
    (folder / "site" / info).mkdir(parents=True)
    texts = {
        "borrowed_packages.pth": "\n".join(p for p in sys.path if "site-packages" in p) + "\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: borrowed-packages\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    texts[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*texts, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / "borrowed_packages-1.0-py3-none-any.whl", "w") as file:
        for name, text in texts.items():
            file.writestr(name, text)
    lines = ("--no-index", f"--find-links {folder}", "borrowed-packages")
    site = folder / "site"
    (site / info / "METADATA").write_text(texts[f"{info}/METADATA"])
    (site / info / "entry_points.txt").write_text("[zoo]\nborrowed = borrowed_records\n")
    (site / "borrowed_records.py").write_text(RECORDS.format(requirements=lines))
    command = [sys.executable, "-P", "-m", "zoo", "env", "create", "--quiet", "borrowed"]
    environ = {**os.environ, "PYTHONPATH": str(site)}
    environ.pop("ZOO_PLUGINS", None)
    subprocess.run(command, check=True, env=environ)
    return plugin.Environment(requirements=lines)


def processor_seconds() -> float:
    """Return what this process and those that it started have used; 0 without /proc."""
    ticks = 0
    for file in Path("/proc/self/task").glob("*/children"):
        for pid in file.read_text().split():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def measure(network: str, environment: plugin.Environment, rounds: int) -> dict[str, object]:
    """Time both ways by turns."""
    plain = plugin.EncoderSpec(
        name=network,
        builder="environment_networks:build_here",
        summary="s",
        channels=(3, 3),
        options={"network": network},
    )
    own = replace(plain, builder="environment_networks:build", environment=environment)
    ways = {"here": plugin.build(plain), "environment": plugin.build(own)}
    draw = torch.Generator().manual_seed(0)
    planes = torch.rand(3 * IMAGES, SIDE, SIDE, generator=draw)
    batch = zoo.ImageBatch(planes, torch.tensor([3] * IMAGES))
    found = [way.encode(batch, preprocess=False).embedding for way in ways.values()]
    if not torch.allclose(found[0], found[1], rtol=1e-5, atol=1e-6):
        raise SystemExit(f"{network}: the two ways differ, and get no time")
    times: dict[str, list[float]] = {way: [] for way in ways}
    used = dict.fromkeys(ways, 0.0)
    for turn in range(rounds):
        for way in sorted(ways, reverse=bool(turn % 2)):
            before, began = processor_seconds(), time.perf_counter()
            ways[way].encode(batch, preprocess=False)
            times[way].append(time.perf_counter() - began)
            used[way] += processor_seconds() - before
    here, there = median(times["here"]), median(times["environment"])
    pairs = zip(times["environment"], times["here"], strict=True)
    cost = median(a - b for a, b in pairs)
    return {
        "network": network,
        "images": IMAGES,
        "here_s": here,
        "environment_s": there,
        "cost_s": cost,
        "cost_percent": 100 * cost / here,
        "here_cpu_s": used["here"] / rounds,
        "environment_cpu_s": used["environment"] / rounds,
        "cost_cpu_percent": 100 * (used["environment"] / used["here"] - 1),
        "rounds": rounds,
    }


def main() -> None:
    """Measure, keep the rows, print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=kept_rows.RESULTS / "environment-cost.csv")
    arguments = parser.parse_args()
    here = machine("cpu") | {"commit": kept_rows.current_commit()}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZOO_CACHE"] = folder
        environment = make_environment(Path(folder))
        rows = [
            measure(name, environment, arguments.rounds * (10 if name == "mean" else 1)) | here
            for name in NETWORKS
        ]
    kept_rows.write(arguments.out, FIELDS, rows)
    print(arguments.out.read_text())


if __name__ == "__main__":
    main()
