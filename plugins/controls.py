"""Controls without a network: what an encoder must beat before its score means anything."""

from collections.abc import Iterable

import zoo

_RIPLEY = "Ripley, Modelling spatial patterns, J. R. Stat. Soc. B 39, 1977"
_OTSU = "Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9, 1979"


@zoo.hookimpl
def zoo_encoders() -> Iterable[zoo.EncoderSpec]:
    """Give pixel statistics, arrangement of objects, and vectors that know nothing."""
    yield zoo.EncoderSpec(
        name="pixel-statistics",
        builder="zoo.plugins.controls_statistics:build",
        summary="Mean, sd, percentiles and saturation of each channel, correlations; joined",
        role="control",
        control="statistics",
        options={"join": "concat"},
        licence="none needed",
    )
    yield zoo.EncoderSpec(
        name="pixel-statistics-mean",
        builder="zoo.plugins.controls_statistics:build",
        summary="The same numbers averaged over channels, for any channel counts",
        embedding_size=11,
        role="control",
        control="statistics",
        options={"join": "mean"},
        licence="none needed",
    )
    yield zoo.EncoderSpec(
        name="object-density",
        builder="zoo.plugins.controls_structure:build",
        summary="How many objects, how large, how far apart; no intensity",
        embedding_size=20,
        role="control",
        control="structural",
        options={"statistics": "density"},
        licence="none needed",
        citation=f"{_OTSU}; {_RIPLEY}",
    )
    yield zoo.EncoderSpec(
        name="cell-structure",
        builder="zoo.plugins.controls_structure:build",
        summary="Objects as points: Delaunay and Voronoi statistics; no texture, no intensity",
        embedding_size=39,
        role="control",
        control="structural",
        options={"statistics": "structure"},
        licence="none needed",
        citation=_OTSU,
    )
    yield zoo.EncoderSpec(
        name="constant",
        builder="zoo.plugins.controls_degenerate:build",
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
        builder="zoo.plugins.controls_degenerate:build",
        summary="A draw from N(0, I), fixed by the content of the image",
        embedding_size=192,
        seeded=True,
        role="control",
        control="degenerate",
        options={"offset": 0.0, "sd": 1.0},
        licence="none needed",
    )
