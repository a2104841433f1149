"""Controls made by hand: what an encoder must beat before its score means anything."""

from collections.abc import Iterable
from dataclasses import replace

import zoo

_RIPLEY = "Ripley, Modelling spatial patterns, J. R. Stat. Soc. B 39, 1977"
_OTSU = "Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9, 1979"
_RUIFROK = (
    "Ruifrok & Johnston, Quantification of histochemical staining by color deconvolution, Anal. "
    "Quant. Cytol. Histol. 23, 2001"
)
_TEXTURE = (
    "Haralick et al., Textural features for image classification, IEEE Trans. SMC 3, 1973; Ojala "
    "et al., Multiresolution gray-scale and rotation invariant texture classification with local "
    "binary patterns, IEEE Trans. PAMI 24, 2002; McQuin et al., CellProfiler 3.0, PLoS Biol. 16, "
    "2018; van der Walt et al., scikit-image, PeerJ 2, 2014"
)

_PERCENTILES = (5, 25, 50, 75, 95)
_TYPES = 4


def _spread(what: str) -> tuple[str, ...]:
    return (f"{what}, mean", f"{what}, sd", *(f"{what}, {p} %" for p in _PERCENTILES))


_PIXELS = (
    "mean",
    "sd",
    *(f"{p} %" for p in (1, 5, 25, 50, 75, 95, 99)),
    "saturated share",
    "correlation",
)
_DENSITY = (
    "count",
    "area share",
    *_spread("area"),
    *_spread("nearest distance"),
    *(f"L({r}) - r" for r in (0.025, 0.05, 0.1, 0.2)),
)
_STRUCTURE = (
    "count",
    *_spread("degree"),
    *_spread("edge length"),
    *_spread("triangle area"),
    "clustering, mean",
    "clustering, sd",
    *_spread("cell area"),
    *(f"neighbours within {r}, {what}" for r in (0.05, 0.1, 0.2) for what in ("mean", "sd")),
    "share on the hull",
    "hull area",
)
_NEIGHBOURHOOD = (
    *(f"share of type {k}" for k in range(_TYPES)),
    *(f"edges {a}-{b} beyond chance" for a in range(_TYPES) for b in range(a, _TYPES)),
    "entropy of neighbours",
    "nearest is alike",
)
_HARALICK = (
    "angular second moment",
    "contrast",
    "correlation",
    "variance",
    "inverse difference moment",
    "sum average",
    "sum variance",
    "sum entropy",
    "entropy",
    "difference variance",
    "difference entropy",
    "information measure 1",
    "information measure 2",
)
_TEXTURES = (
    *(f"{name}, distance {d}" for d in (1, 4) for name in _HARALICK),
    *(f"pattern {k}, radius {r}" for r in (1, 3) for k in (*range(9), "other")),
    *(f"granules up to {r}" for r in (1, 2, 3, 5, 8, 12)),
    *(f"power up to {0.5 / 2 ** (k / 2):.4f} / pixel" for k in reversed(range(12))),
)


@zoo.hookimpl
def zoo_encoders() -> Iterable[zoo.EncoderSpec]:
    """Give statistics and texture of pixels, arrangement of objects, vectors that know nothing."""
    yield zoo.EncoderSpec(
        name="pixel-statistics",
        builder="zoo.plugins.controls.pixel_statistics:build",
        summary="Mean, sd, percentiles and saturation of each channel, correlations; joined",
        role="control",
        control="statistics",
        options={"join": "concat"},
        licence="none needed",
    )
    yield zoo.EncoderSpec(
        name="pixel-statistics-mean",
        builder="zoo.plugins.controls.pixel_statistics:build",
        summary="The same numbers averaged over channels, for any channel counts",
        embedding_size=len(_PIXELS),
        role="control",
        control="statistics",
        options={"join": "mean"},
        columns=_PIXELS,
        licence="none needed",
    )
    yield zoo.EncoderSpec(
        name="texture",
        builder="zoo.plugins.controls.texture:build",
        summary="Haralick, LBP, granularity, power spectrum of each channel; joined",
        role="control",
        control="statistics",
        options={"join": "concat"},
        licence="none needed",
        citation=_TEXTURE,
    )
    yield zoo.EncoderSpec(
        name="texture-mean",
        builder="zoo.plugins.controls.texture:build",
        summary="The same textures averaged over channels, for any channel counts",
        embedding_size=len(_TEXTURES),
        role="control",
        control="statistics",
        options={"join": "mean"},
        columns=_TEXTURES,
        licence="none needed",
        citation=_TEXTURE,
    )
    yield zoo.EncoderSpec(
        name="object-density",
        builder="zoo.plugins.controls.object_structure:build",
        summary="How many objects, how large, how far apart; no intensity",
        embedding_size=len(_DENSITY),
        role="control",
        control="structural",
        options={"statistics": "density"},
        columns=_DENSITY,
        licence="none needed",
        citation=f"{_OTSU}; {_RIPLEY}; {_RUIFROK}",
    )
    yield zoo.EncoderSpec(
        name="cell-structure",
        builder="zoo.plugins.controls.object_structure:build",
        summary="Objects as points: Delaunay and Voronoi statistics; no texture, no intensity",
        embedding_size=len(_STRUCTURE),
        role="control",
        control="structural",
        options={"statistics": "structure"},
        columns=_STRUCTURE,
        licence="none needed",
        citation=f"{_OTSU}; {_RUIFROK}",
    )
    yield zoo.EncoderSpec(
        name="cell-structure-typed",
        builder="zoo.plugins.controls.object_structure:build",
        summary=f"The same and who neighbours whom, for objects of up to {_TYPES} types",
        embedding_size=len(_STRUCTURE) + len(_NEIGHBOURHOOD),
        role="control",
        control="structural",
        options={"statistics": "types", "types": _TYPES},
        columns=_STRUCTURE + _NEIGHBOURHOOD,
        licence="none needed",
    )
    yield zoo.EncoderSpec(
        name="constant",
        builder="zoo.plugins.controls.degenerate:build",
        summary="The same vector for every image, plus noise of sd 1e-6",
        embedding_size=192,
        seeded=True,
        role="control",
        control="degenerate",
        options={"offset": 1.0, "sd": 1e-6},
        licence="none needed",
    )
    yield zoo.EncoderSpec(
        name="gaussian",
        builder="zoo.plugins.controls.degenerate:build",
        summary="A draw from N(0, I), fixed by the content of the image",
        embedding_size=192,
        seeded=True,
        role="control",
        control="degenerate",
        options={"offset": 0.0, "sd": 1.0},
        licence="none needed",
    )


@zoo.hookimpl
def zoo_encoder_families() -> Iterable[zoo.EncoderFamily]:
    """Give what is left of any encoder without one of its abilities."""
    yield zoo.EncoderFamily(
        scheme="mask-only",
        resolver="zoo.plugins.controls.specs:resolve_mask_only",
        summary="Any encoder on the segmentation alone, 0 and 1: structure without intensity",
        examples=("mask-only:untrained:vit_small_patch16_224", "mask-only:chadavit-untrained"),
    )
    yield zoo.EncoderFamily(
        scheme="one-channel",
        resolver="zoo.plugins.controls.specs:resolve_one_channel",
        summary="Any encoder on each channel by itself, averaged (/mean) or joined (/concat)",
        examples=("one-channel:chadavit-untrained/concat", "one-channel:chadavit-idrcell100k/mean"),
    )


def resolve_mask_only(text: str) -> zoo.EncoderSpec:
    """Describe the encoder called `text`, whole, on segmentations."""
    inner = _inner(text, f"mask-only:{text}")
    return replace(
        inner,
        name=f"mask-only:{text}",
        builder="zoo.plugins.controls.ablations:build_mask_only",
        summary=f"{text} on the segmentation alone, as one channel of 0 and 1",
        channels=(1, None),
        role="control",
        control="structural",
        twin=f"mask-only:{inner.twin}" if inner.twin else None,
        options=_options(inner),
    )


def resolve_one_channel(text: str) -> zoo.EncoderSpec:
    """Describe ``ENCODER``, ``ENCODER/mean`` (the same) or ``ENCODER/concat``.

    A ``/mean`` or ``/concat`` at the end always says how this control puts channels together;
    whatever stands before it is the encoder, slashes, colons and all:
    ``one-channel:untrained:resnet18/concat`` joins the channels of ``untrained:resnet18``.

    Raises
    ------
    UnknownNameError
        Also when only the whole text, with its ending, is the name of an encoder.
    """
    name, _, join = text.rpartition("/")
    if not name or join not in _JOINED:
        name, join = text, "mean"
    try:
        inner = _inner(name, f"one-channel:{text}")
    except (zoo.UnknownNameError, zoo.WeightsError) as error:
        if name != text and _is_known(text):
            raise zoo.UnknownNameError(
                f"one-channel:{text} ends in /{join}, which says how channels are put together, "
                f"but only {text!r} is an encoder and {name!r} is none: write "
                f"'one-channel:{text}/mean' or 'one-channel:{text}/concat'."
            ) from error
        raise
    kept = {"embedding_size": inner.embedding_size, "columns": inner.columns}
    joined = {"embedding_size": None, "columns": ()}
    return replace(
        inner,
        name=f"one-channel:{text}",
        builder="zoo.plugins.controls.ablations:build_one_channel",
        summary=f"{name} on each channel by itself; channels {_JOINED[join]}",
        channels=(1, None),
        role="control",
        control=inner.control or "ablation",
        twin=f"one-channel:{inner.twin}/{join}" if inner.twin else None,
        options={**_options(inner), "join": join},
        **(kept if join == "mean" else joined),  # type: ignore[arg-type]
    )


_JOINED = {"mean": "averaged", "concat": "joined"}


def _inner(name: str, whole: str) -> zoo.EncoderSpec:
    """Return the record of an encoder that takes single channels."""
    inner = zoo.record(name)
    if inner.channels[0] > 1:
        raise zoo.UnknownNameError(
            f"There is no {whole}: {name} takes {inner.channels[0]} channels or more, never one."
        )
    return inner


def _is_known(name: str) -> bool:
    try:
        zoo.record(name)
    except zoo.ZooError:
        return False
    return True


def _options(inner: zoo.EncoderSpec) -> dict[str, str | int | float | bool]:
    """Name the encoder inside with everything that makes it what it is."""
    own = {f"encoder {key}": value for key, value in inner.options.items()}
    return {"encoder": inner.name, "encoder builder": inner.builder, **own}
