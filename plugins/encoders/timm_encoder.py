"""A timm network applied to single channels, or to red, green and blue together."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo import plugin

State = dict[str, Tensor]


class PlaneNetwork(nn.Module):
    """An RGB network applied to single planes, or to colour images.

    A plane is repeated to all input channels. Input is normalised as in the training of the
    network, also for untrained twins, so that both get the same, and should lie in [0, 1]. The
    channels-last memory format makes most convolutions 1.2 to 1.35 times as fast and does not slow
    other networks (``benchmarks/bench_timm.py``).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        record: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
        self.native: tuple[int, int] = tuple(record["input_size"][1:])
        for name in ("mean", "std"):
            values = torch.tensor(record[name], dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)

    def forward(self, planes: Tensor) -> Tensor:
        """Map planes `(N, H, W)`, or colour images `(N, 3, H, W)`, to pooled features `(N, D)`."""
        last = planes[..., None] if planes.ndim == 3 else planes.permute(0, 2, 3, 1).contiguous()
        rgb = (last - self.mean) / self.std  # (N, H, W, 3)
        features: Tensor = self.backbone(rgb.permute(0, 3, 1, 2))
        return features


class TimmEncoder(plugin.Encoder):
    """Encodes all planes of a batch in one pass, and averages or concatenates their features.

    With ``/rgb`` the three planes of an image are one input.
    """

    differentiable = True
    model: PlaneNetwork

    def __init__(self, spec: plugin.EncoderSpec, *, model: PlaneNetwork) -> None:
        super().__init__(spec, model=model)
        self.colour = spec.options["join"] == "rgb"
        self.requires_equal_channels = spec.options["join"] == "concat"
        self.outputs = frozenset() if self.colour else frozenset({"channels"})

    def forward(
        self,
        batch: plugin.ImageBatch,
        *,
        channels: bool = False,
        tokens: bool = False,
        layer: int | None = None,
    ) -> plugin.Features:
        """Embed a batch; raises `ImageError` when the network cannot take its size."""
        if self.colour:
            height, width = batch.size
            images = batch.planes.reshape(len(batch), 3, height, width)
            return plugin.Features(self._features(images).float(), batch.counts)
        planes = self._features(batch.planes).float()  # (sum of C_i, D)
        if self.requires_equal_channels:
            embedding = planes.reshape(len(batch), -1)
        else:
            members = torch.split(planes, batch.counts.tolist())
            embedding = torch.stack([image.mean(0) for image in members])
        return plugin.Features(embedding, batch.counts, planes if channels else None)

    def _features(self, planes: Tensor) -> Tensor:
        size = tuple(planes.shape[-2:])
        try:
            features: Tensor = self.model(planes)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            if size == self.model.native:
                raise
            height, width = self.model.native
            raise plugin.ImageError(
                f"images are {size[0]} × {size[1]} pixels, which {self.name} cannot take "
                f"({error}): it is made for {height} × {width}, as preprocessing=Preprocessing("
                f"resize={min(height, width)}, crop={min(height, width)}) gives"
            ) from error
        if features.ndim != 2:
            raise plugin.PluginError(
                f"{self.name} gives features of the shape {tuple(features.shape)}, not one row "
                "for each input: timm does not pool this network"
            )
        return features


def build(spec: plugin.EncoderSpec, *, weights: Path | None, seed: int) -> TimmEncoder:
    """Build from the record's options; filled from `weights`, or drawn by `seed` without."""
    if weights is None and not spec.seeded:  # never an untrained network under a trained name
        raise plugin.WeightsNotFoundError(f"{spec.name} was to be built without its weights")
    network = create(str(spec.options["model"]), seed)
    if weights is not None:
        load_backbone(network, weights)
    return TimmEncoder(spec, model=PlaneNetwork(network).eval())


def create(name: str, seed: int) -> nn.Module:
    """Create a network without classifier, its parameters drawn by timm from `seed`.

    They are drawn on the CPU, so that they do not depend on the device, and the global generators
    are left unchanged. Networks that resample their positions take images of any size.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed, which would seed the generators of all GPUs too.
        torch.default_generator.manual_seed(seed)
        # Resample positions. Do not multiply residual branches by 0, as timm does before training a
        # ResNet: little would be left of an untrained one.
        for arguments in ({"dynamic_img_size": True}, {"zero_init_last": False}):
            try:
                return _create(name, **arguments)
            except TypeError:  # this network has no such argument
                torch.default_generator.manual_seed(seed)
        return _create(name)


def _create(name: str, **arguments: bool) -> nn.Module:
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
    return network


def load_backbone(network: nn.Module, path: Path) -> None:
    """Fill a network without classifier from a safetensors file, strictly.

    ``timm.create_model(pretrained=True, num_classes=0)`` is not used for this: without classifier
    it loads leniently, and a missing tensor silently keeps its random values. A file in another
    layout is first converted as timm does for this architecture.

    Raises
    ------
    ArchitectureMismatchError
        Listing the tensors that are missing, unexpected or of the wrong shape.
    IntegrityError
        When the file is not a safetensors file.
    """
    try:
        given = load_file(path)
    except SafetensorError as error:
        raise plugin.IntegrityError(
            f"{path} is not a safetensors file, or a broken one ({error}): the zoo never unpickles "
            "weights"
        ) from error
    expected = network.state_dict()
    state = _without_classifier(given, network, expected)
    problems = _differences(state, expected)
    if problems:
        converted = _convert(given, network, expected)
        if converted is None or _differences(converted, expected):
            raise plugin.ArchitectureMismatchError(
                f"{path} does not fit the network ({'; '.join(problems)}): give the weights made "
                "for it"
            )
        state = converted
    network.load_state_dict(state, strict=False)  # lacks at most counters that only training reads


def _differences(state: State, expected: State) -> list[str]:
    unused = {name for name in expected if name.endswith("num_batches_tracked")}
    both = sorted(state.keys() & expected.keys())
    listed = {
        "missing": sorted(expected.keys() - state.keys() - unused),
        "unexpected": sorted(state.keys() - expected.keys()),
        "wrong shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
            for name in both
            if state[name].shape != expected[name].shape
        ],
        "not floating point": [
            f"{name} {state[name].dtype}"
            for name in both
            if expected[name].is_floating_point() and not state[name].is_floating_point()
        ],
    }
    return [
        f"{len(names)} {what}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
        for what, names in listed.items()
        if names
    ]


def _without_classifier(state: State, network: nn.Module, expected: State) -> State:
    """Drop the classifier, and the other tensors of its head that the network does not have."""
    named = network.pretrained_cfg["classifier"] or ()  # type: ignore[index]
    names = (named,) if isinstance(named, str) else tuple(named)
    heads = tuple(f"{name.rpartition('.')[0] or name}." for name in names)
    return {k: v for k, v in state.items() if k in expected or not k.startswith(heads)}


def _convert(state: State, network: nn.Module, expected: State) -> State | None:
    """Apply timm's conversion for this architecture; None where there is none or it fails.

    Converting may rename and refold. It may not resample: a tensor of the right name and another
    size is an error, not a reason to interpolate.
    """
    module = sys.modules[type(network).__module__]
    convert: Callable[..., State] | None = getattr(module, "checkpoint_filter_fn", None)
    for name in state.keys() & expected.keys():
        if state[name].ndim == expected[name].ndim and state[name].shape != expected[name].shape:
            return None
    if convert is None:
        return None
    try:
        converted = convert(dict(state), network)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        return None  # timm does not know the layout of the file
    return _without_classifier(converted, network, expected)
