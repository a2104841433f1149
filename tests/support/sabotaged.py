"""An honest encoder, and the same with one fault: what the conformance kit must notice."""

import contextlib
import datetime
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

import zoo

SIZE, TOKENS = 16, 16
FILE = Path(os.devnull).open()  # noqa: SIM115


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, SIZE)
        self.second = nn.Linear(SIZE, SIZE)
        self.norm = nn.BatchNorm1d(SIZE, affine=False)


class Sabotaged(zoo.Encoder):
    outputs = frozenset({"attention", "channels", "layer", "tokens"})
    differentiable = True
    depth = 2

    def __init__(self, spec, model):
        super().__init__(spec, model=model)
        self.fault = spec.options["fault"]
        self.calls, self.memory, self.buffer = 0, {}, {}
        self.started = os.getpid()
        if self.fault == "lambda inside":
            self.activation = lambda x: x
        if self.fault == "open file inside":
            self.file = FILE

    def prepare(self, image, item):
        if self.fault == "refuses all but uint8" and image.dtype not in (np.uint8, torch.uint8):
            raise zoo.errors.ImageError(f"{item} is not uint8")
        found = super().prepare(image, item)
        return found + torch.rand(1) if self.fault == "random preprocessing" else found

    def to(self, device=None, dtype=None):
        if self.fault == "no bfloat16" and dtype == torch.bfloat16:
            raise RuntimeError("not implemented for BFloat16")
        super().to(device, dtype)
        if self.fault == "batch norm in train mode":
            self.model.train()
        if self.fault == "to makes it float64" and dtype is None:
            self.dtype = torch.float64
            self.model.double()
        return self

    def features(self, batch, layer):
        """Tokens of all planes, (N, 16, D)."""
        model = self.model
        planes = batch.planes[:, None]
        if self.fault == "rounds to bfloat16 inside":
            planes = planes.bfloat16().to(planes)
        mean = F.adaptive_avg_pool2d(planes, 4).flatten(1)
        square = F.adaptive_avg_pool2d(planes**2, 4).flatten(1)
        rows = torch.tanh(model.first(torch.stack([mean, square], -1)))
        if self.fault == "one size only" and batch.planes.shape[-2:] != (64, 80):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        if layer in (1, -2) and self.fault != "layer is ignored":
            return rows
        return model.second(rows) + rows.square()

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        fault, counts = self.fault, batch.counts.tolist()
        if layer is not None and (layer == 0 or abs(layer) > 2):
            raise ValueError(f"layer is {layer}")
        self.calls += 1
        self.side_effects(batch)
        patches = self.features(batch, layer)
        per_channel = patches.mean(1)
        if fault == "first channel only":
            rows = torch.stack([c[0] for c in per_channel.split(counts)])
        else:
            rows = torch.stack([c.mean(0) for c in per_channel.split(counts)])
        if fault == "frozen, no_grad":
            rows = rows.detach().clone()
        rows = self.wrong(rows, batch)
        offsets = torch.tensor([0, *counts]).cumsum(0) * TOKENS
        found = zoo.Features(
            rows,
            batch.counts + (fault == "counts are wrong"),
            per_channel if channels else None,
            patches.flatten(0, 1) if tokens else None,
            offsets if tokens else None,
        )
        return self.wrong_outputs(found)

    def side_effects(self, batch):
        match self.fault:
            case "changes the given planes":
                batch.planes.mul_(0.5)
            case "seeds the global generators":
                torch.manual_seed(0)
                np.random.seed(0)  # noqa: NPY002
            case "prints":
                sys.stdout.write("hello\n")
            case "sets the default type":
                torch.set_default_dtype(torch.float64)
            case "sets an environment variable":
                os.environ["SABOTAGED"] = str(self.calls)
            case "connects":
                import socket

                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", 9), timeout=0.1)

    def wrong(self, rows, batch):
        counts, n = batch.counts, len(rows)
        named = bool(batch.stains) and batch.stains[0] is not None
        dark = batch.planes.flatten(1)
        match self.fault:
            case "noise 1e-6":
                rows = rows + 1e-6 * torch.rand_like(rows)
            case "noise 1e-2":
                rows = rows + 1e-2 * torch.rand_like(rows)
            case "drifts from the 20th call":
                rows = rows + 1e-3 * (self.calls > 20)
            case "depends on the process":
                rows = rows + os.getpid() % 1000 * 1e-2
            case "depends on the hour":
                rows = rows + 0.1 * datetime.datetime.now().hour
            case "depends on the hash seed":
                rows = rows + hash("zoo") % 1000 * 1e-2
            case "one output buffer":
                rows = self.buffer.setdefault(rows.shape, torch.empty_like(rows)).copy_(rows)
            case "memory by shape":
                rows = self.memory.setdefault(batch.planes.shape, rows)
            case "batch norm in train mode":
                rows = self.model.norm(rows) if n > 1 else rows
            case "subtracts the batch mean":
                rows = rows - rows.mean(0)
            case "subtracts the batch mean from 8 up":
                rows = rows - rows.mean(0) * (n >= 8)
            case "mixes 5e-5 of the neighbour":
                rows = rows + 5e-5 * rows.roll(1, 0)
            case "mixes images of 4 channels and more":
                many = counts >= 4
                rows = rows + 0.1 * many[:, None] * (rows * many[:, None]).sum(0)
            case "depends on more than 16 planes":
                rows = rows + 0.1 * (int(counts.sum()) > 16)
            case "adds the place":
                rows = rows + 1e-3 * torch.arange(n)[:, None]
            case "reversed":
                rows = rows.flip(0)
            case "swaps the last two from 5 up":
                rows = torch.cat([rows[:-2], rows[-2:].flip(0)]) if n >= 5 else rows
            case "sorted":
                rows = rows[rows[:, 0].argsort()]
            case "IndexError from 4 channels up":
                if int(counts.max()) >= 4:
                    raise IndexError("index 4 is out of bounds")
            case "NaN from 4 channels up":
                rows = rows.masked_fill((counts >= 4)[:, None], float("nan"))
            case "zeros from 4 channels up":
                rows = rows * (counts < 4)[:, None]
            case "refuses 11 channels":
                if int(counts.max()) >= 11:
                    raise zoo.errors.ImageError("too many channels")
            case "constant":
                rows = torch.linspace(0, 1, SIZE).expand(n, -1).clone()
            case "all zeros":
                rows = torch.zeros_like(rows)
            case "7 columns":
                rows = rows[:, :7]
            case "an axis too many":
                rows = rows[..., None]
            case "wider for large images" if batch.size[0] > 100:
                rows = torch.cat([rows, rows], 1)
            case "columns by channels":
                rows = rows[:, : SIZE - int(counts[0])]
            case "a row too many":
                rows = torch.cat([rows, rows[:1]])
            case "a row too few":
                rows = rows[:-1]
            case "an array":
                rows = rows.numpy()
            case "float64":
                rows = rows.double()
            case "float16":
                rows = rows.half()
            case "rounds to bfloat16":
                rows = rows.bfloat16().float()
            case "all NaN":
                rows = rows * float("nan")
            case "one infinite number":
                rows = rows.index_fill(1, torch.tensor([3]), float("inf"))
            case "NaN for flat channels":
                flat = ((dark.amax(1) == dark.amin(1)) & (dark.amax(1) > 0)).any()
                rows = rows.masked_fill(flat, float("nan"))
            case "NaN for one black channel":
                black = (dark.amax(1) == 0).any() and (dark.amax(1) > 0.5).any()
                rows = rows.masked_fill(black, float("nan"))
            case "NaN for black images":
                rows = rows / (dark.amax() > 0)
            case "NaN for dim images":
                rows = rows.masked_fill(dark.amax() <= 0.9, float("nan"))
            case "KeyError for stains" if named:
                raise KeyError(batch.stains[0][0])
            case "random for stains" if named:
                rows = rows + torch.rand_like(rows)
        return rows

    def wrong_outputs(self, found):
        channels, tokens, offsets = found.channels, found.tokens, found.token_offsets
        match self.fault:
            case "channels are NaN" if channels is not None:
                channels = channels * float("nan")
            case "channels have other columns" if channels is not None:
                channels = channels[:, :5]
            case "channels are reversed" if channels is not None:
                channels = channels.flip(0)
            case "channels of an image are reversed" if channels is not None:
                parts = channels.split(found.counts.tolist())
                channels = torch.cat([part.flip(0) for part in parts])
            case "channels are float64" if channels is not None:
                channels = channels.double()
            case "channels lack a row" if channels is not None:
                channels = channels[1:]
            case "channels are zeros too":
                channels = None if channels is None else channels * 0
            case "tokens are NaN" if tokens is not None:
                tokens = tokens * float("nan")
            case "offsets do not rise" if offsets is not None and len(offsets) > 2:
                offsets = offsets[[0, 2, 1, *range(3, len(offsets))]]
        return zoo.Features(found.embedding, found.counts, channels, tokens, offsets)

    def forward_attention(self, batch):
        if self.fault == "attention is not written":
            return super().forward_attention(batch)
        found = []
        for c in batch.counts.tolist():
            even = torch.full((1, 1, c + 1, c + 1), 1 / (c + 1))
            found.append(zoo.Attention(even, torch.full((1, 1, c, 1, 1), 1 / (c + 1))))
        return found


class NeedsStains(Sabotaged):
    """Honest, but only for images whose channels have names."""

    def forward(self, batch, **asked):
        if not batch.stains or batch.stains[0] is None:
            raise zoo.errors.ImageError("needs stain names: DNA, ER, …")
        return super().forward(batch, **asked)


def build(spec, *, weights, seed):
    fault = spec.options["fault"]
    model = Network()
    if fault != "random parameters at each load":
        draw = torch.Generator().manual_seed(0 if fault == "the seed is ignored" else seed)
        for parameter in model.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=draw))
    if weights is not None and fault != "the weights are ignored":
        model.load_state_dict(load_file(weights), strict=fault != "half of the weights will do")
    kind = NeedsStains if fault == "needs stains" else Sabotaged
    encoder = kind(spec, model)
    model.train(fault == "batch norm in train mode")
    return encoder


def reference():
    images = [np.full((1, 64, 64), 100, np.uint8)]
    module = sys.modules[__name__]
    return images, module.REFERENCE


REFERENCE = np.zeros((1, SIZE), np.float32)


def spec(fault, **fields):
    channels = (1, None) if fault == "refuses 11 channels" else (1, 8)
    size = {"one size only": {"resize": None, "crop": None}}.get(fault, {"resize": 64, "crop": 64})
    given = {
        "name": "sabotaged",
        "builder": "sabotaged:build",
        "summary": fault,
        "embedding_size": SIZE,
        "channels": channels,
        "seeded": True,
        "options": {"fault": fault},
        "preprocessing": zoo.Preprocessing(**size),
    }
    return zoo.plugin.EncoderSpec(**given | fields)
