"""The plugin contract. Hooks return data; they register nothing.

A plugin is a module (or object) with functions of these names, marked
``@zoo.plugin.hookimpl``, named in its distribution's metadata:

    [project.entry-points.zoo]
    my-encoders = "my_package.zoo_plugin"

Keep the module light: it is imported for listings, so it must not import torch.
"""

from collections.abc import Iterable

import pluggy

from .designs import DatasetSpec
from .specs import EncoderFamily, EncoderSpec

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_encoders() -> Iterable[EncoderSpec]:  # type: ignore[empty-body]
    """Encoders with fixed names, such as ``chadavit-idrcell100k``."""


@hookspec
def zoo_encoder_families() -> Iterable[EncoderFamily]:  # type: ignore[empty-body]
    """Open families behind a scheme, such as ``timm:``."""


@hookspec
def zoo_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Datasets that `zoo.evaluate` can be run on."""
