"""Records of the hand-made controls: the baselines that an encoder has to beat."""

from zoo import plugin

from .column_names import DENSITY, NEIGHBOURHOOD, PIXEL_STATISTICS, STRUCTURE, TEXTURE, TYPES

_RIPLEY = "Ripley, Modelling spatial patterns, J. R. Stat. Soc. B 39, 1977"
_OTSU = "Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9, 1979"
_RUIFROK = (
    "Ruifrok & Johnston, Quantification of histochemical staining by color deconvolution, Anal. "
    "Quant. Cytol. Histol. 23, 2001"
)
_TEXTURES = (
    "Haralick et al., Textural features for image classification, IEEE Trans. SMC 3, 1973; Ojala "
    "et al., Multiresolution gray-scale and rotation invariant texture classification with local "
    "binary patterns, IEEE Trans. PAMI 24, 2002; McQuin et al., CellProfiler 3.0, PLoS Biol. 16, "
    "2018; van der Walt et al., scikit-image, PeerJ 2, 2014"
)

ENCODERS = (
    plugin.EncoderSpec(
        name="pixel-statistics",
        builder="zoo.plugins.controls.pixel_statistics:build",
        summary="Mean, sd, percentiles, saturation and correlations of channels; concatenated",
        role="control",
        control="statistics",
        options={"join": "concat"},
        licence="none needed",
    ),
    plugin.EncoderSpec(
        name="pixel-statistics-mean",
        builder="zoo.plugins.controls.pixel_statistics:build",
        summary="The same statistics averaged over channels, for any number of channels",
        embedding_size=len(PIXEL_STATISTICS),
        role="control",
        control="statistics",
        options={"join": "mean"},
        columns=PIXEL_STATISTICS,
        licence="none needed",
    ),
    plugin.EncoderSpec(
        name="texture",
        builder="zoo.plugins.controls.texture:build",
        summary="Haralick, LBP, granularity, power spectrum of each channel; concatenated",
        role="control",
        control="statistics",
        options={"join": "concat"},
        licence="none needed",
        citation=_TEXTURES,
    ),
    plugin.EncoderSpec(
        name="texture-mean",
        builder="zoo.plugins.controls.texture:build",
        summary="The same textures averaged over channels, for any number of channels",
        embedding_size=len(TEXTURE),
        role="control",
        control="statistics",
        options={"join": "mean"},
        columns=TEXTURE,
        licence="none needed",
        citation=_TEXTURES,
    ),
    plugin.EncoderSpec(
        name="object-density",
        builder="zoo.plugins.controls.object_structure:build",
        summary="Number, sizes and spacing of objects; no intensity",
        embedding_size=len(DENSITY),
        role="control",
        control="structural",
        options={"statistics": "density"},
        columns=DENSITY,
        licence="none needed",
        citation=f"{_OTSU}; {_RIPLEY}; {_RUIFROK}",
    ),
    plugin.EncoderSpec(
        name="cell-structure",
        builder="zoo.plugins.controls.object_structure:build",
        summary="Objects as points: Delaunay and Voronoi statistics; no texture, no intensity",
        embedding_size=len(STRUCTURE),
        role="control",
        control="structural",
        options={"statistics": "structure"},
        columns=STRUCTURE,
        licence="none needed",
        citation=f"{_OTSU}; {_RUIFROK}",
    ),
    plugin.EncoderSpec(
        name="cell-structure-typed",
        builder="zoo.plugins.controls.object_structure:build",
        summary=f"The same plus neighbourhoods by cell type, for objects of up to {TYPES} types",
        embedding_size=len(STRUCTURE) + len(NEIGHBOURHOOD),
        role="control",
        control="structural",
        options={"statistics": "types", "types": TYPES},
        columns=STRUCTURE + NEIGHBOURHOOD,
        licence="none needed",
    ),
    plugin.EncoderSpec(
        name="constant",
        builder="zoo.plugins.controls.degenerate:build",
        summary="The same vector for every image, plus noise of sd 1e-6",
        embedding_size=192,
        seeded=True,
        role="control",
        control="degenerate",
        options={"offset": 1.0, "sd": 1e-6},
        licence="none needed",
    ),
    plugin.EncoderSpec(
        name="gaussian",
        builder="zoo.plugins.controls.degenerate:build",
        summary="Noise from N(0, I), seeded by the content of the image",
        embedding_size=192,
        seeded=True,
        role="control",
        control="degenerate",
        options={"offset": 0.0, "sd": 1.0},
        licence="none needed",
    ),
)
