"""Networks of others on images of different channel counts: packed, padded, or by count.

Usage: python benchmarks/ragged_families.py [--device cuda] [--depth 12] [--rounds 5] [--out FILE]

A network like OpenPhenom-S/16 (256 pixels) and one like ChannelViT-S/16 (224 pixels), untrained.
Ways by turns in one run: packed, as `encode` runs it; padded to the most channels with a mask; and
one batch for each number of channels. Embeddings that differ get no time. Ratios are of the same
round, of processor time on a processor, which other programs disturb less; below 1 the other way is
faster. All layers are alike, so a few of twelve tell the ratios; rows say how many were run.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import kept_rows
import torch
from dense_families import Dense, DenseChannelViT, DenseOpenPhenom, by_count, padded
from kept_rows import Row
from machine import machine
from torch import Tensor
from workloads import channel_counts

import zoo

KEPT = kept_rows.RESULTS / "ragged-families.csv"
MIXES = ("uniform 1-10", "long-tailed", "5 channels")
IMAGES = {"cpu": 10, "cuda": 128}
WAYS = ("packed", "padded", "by_count")
KEY = ("network", "mix", "images", "depth", "device")
FIELDS = (
    *("network", "mix", "images", "planes", "tokens", "padded_tokens", "side", "depth", "dtype"),
    *(f"{way}_s" for way in WAYS),
    *(f"{way}_cpu_s" for way in WAYS),
    *("padded_by_packed", "by_count_by_packed", "difference", "rounds"),
    *("device", "sm_clock_mhz", "driver", "torch", "triton", "threads", "commit"),
)


@dataclass(frozen=True)
class Family:
    """A published architecture; sizes are those of config.json."""

    scheme: str
    channels: str
    """The field that says how many channels there may be."""
    dense: type[Dense]
    side: int
    patch: int = 16
    dim: int = 384
    heads: int = 6

    def config(self, depth: int) -> dict[str, int | float]:
        return {
            "img_size": self.side,
            "patch_size": self.patch,
            "embed_dim": self.dim,
            "num_heads": self.heads,
            "depth": depth,
            "mlp_ratio": 4.0,
            self.channels: 10,
        }


FAMILIES = {
    "OpenPhenom-like S/16": Family("openphenom", "max_in_chans", DenseOpenPhenom, 256),
    "ChannelViT-like S/16": Family("channelvit", "in_chans", DenseChannelViT, 224),
}


def untrained(family: Family, depth: int, device: str) -> zoo.Encoder:
    """Build the network with random parameters."""
    with TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(family.config(depth)))
        Path(folder, "model.safetensors").touch()  # whose parameters the twin does not read
        return zoo.load(f"{family.scheme}-untrained:{folder}", device=device)


def ways(
    encoder: zoo.Encoder, network: Dense, planes: Tensor, counts: list[int]
) -> dict[str, Callable[[], Tensor]]:
    """Return what gives the embeddings in each way."""
    batch = zoo.ImageBatch(planes, torch.tensor(counts))
    return {
        "packed": lambda: encoder.encode(batch, preprocess=False).embedding,
        "padded": lambda: padded(network, planes, counts),
        "by_count": lambda: by_count(network, planes, counts),
    }


def seconds(run: Callable[[], Tensor], device: str) -> tuple[float, float]:
    """Time one call: seconds until its result is there, and those of the processor."""
    began, worked = time.perf_counter(), time.process_time()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, time.process_time() - worked


def measure(
    name: str, mix: str, counts: Sequence[int], *, device: str, depth: int, rounds: int
) -> Row:
    """Time all ways by turns; exits where an embedding is not that of the packed network."""
    family, counts = FAMILIES[name], list(counts)
    encoder = untrained(family, depth, device)
    assert encoder.model is not None
    network = family.dense(
        encoder.model.state_dict(),
        depth=depth,
        heads=family.heads,
        patch=family.patch,
        side=family.side,
    )
    draw = torch.Generator().manual_seed(0)
    planes = torch.randn(sum(counts), family.side, family.side, generator=draw).to(device)
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with torch.inference_mode():
        runs = ways(encoder, network, planes, counts)
        wanted = runs["packed"]()
        unlike = {way: relative(runs[way](), wanted) for way in WAYS[1:]}  # warms up, too
        for way, difference in unlike.items():
            if not difference < 1e-4:  # float32, added up in another order
                raise SystemExit(f"{name}, {mix}, {way}: differs by {difference:.1e} from packed")
        for _ in range(rounds):
            for way, run in runs.items():
                times[way].append(seconds(run, device))
    patches = (family.side // family.patch) ** 2
    kind = int(device == "cpu")

    def ratio(way: str) -> float:
        rounds = zip(times[way], times["packed"], strict=True)
        return median(other[kind] / ours[kind] for other, ours in rounds)

    return {
        "network": name,
        "mix": mix,
        "images": len(counts),
        "planes": sum(counts),
        "tokens": sum(1 + patches * c for c in counts),
        "padded_tokens": len(counts) * (1 + patches * max(counts)),
        "side": family.side,
        "depth": depth,
        "dtype": "float32",
        **{f"{way}_s": median(wall for wall, _ in taken) for way, taken in times.items()},
        **{f"{way}_cpu_s": median(cpu for _, cpu in taken) for way, taken in times.items()},
        **{f"{way}_by_packed": ratio(way) for way in WAYS[1:]},
        "difference": max(unlike.values()),
        "rounds": rounds,
        **machine(device),
        "commit": kept_rows.current_commit(),
    }


def relative(found: Tensor, wanted: Tensor) -> float:
    """Return the distance of embeddings, relative to their length; the largest of all images."""
    return ((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max().item()


def main() -> None:
    """Measure both networks on all mixes, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int)
    parser.add_argument("--threads", type=int, help="of PyTorch on the processor")
    parser.add_argument("--out", type=Path, default=KEPT)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    images = given.images or IMAGES[given.device]
    rows = []
    for name in FAMILIES:
        for mix in MIXES:
            counts = channel_counts(mix, images)
            row = measure(
                name, mix, counts, device=given.device, depth=given.depth, rounds=given.rounds
            )
            print(
                f"{name}, {mix}: packed {row['packed_s']:.3g} s, "
                f"padded {row['padded_by_packed']:.2f}×, by count {row['by_count_by_packed']:.2f}×",
                flush=True,
            )
            rows.append(row)
    old = kept_rows.read(given.out) if given.out.exists() else []
    kept_rows.write(given.out, FIELDS, kept_rows.joined(old, rows, KEY))


if __name__ == "__main__":
    main()
