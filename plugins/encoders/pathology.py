"""Records of pathology encoders: vision transformers of timm on tiles of stained tissue.

Arguments, pooling and normalisation are those of the authors' model cards, as TRIDENT
(https://github.com/mahmoodlab/TRIDENT), lazyslide-models and eva build them; pixel sizes those of
the papers and of TRIDENT's table of magnifications (20× is 0.5 µm). Where no commit is named, the
newest one of the hub is looked up at the first download and kept. All scale 8-bit colours by 255;
authors who resize by bicubic interpolation differ where tiles are not of 224 pixels.
"""

from zoo import plugin

from . import pathology_works as works
from .twin_record import twin_of

_BUILDER = "zoo.plugins.encoders.pathology_encoder:build"
_COLOURS = ("red", "green", "blue")
_SCHEME = "pathology-untrained"
_PICKLE = "pytorch_model.bin"

_IMAGENET = {"mean": "0.485 0.456 0.406", "sd": "0.229 0.224 0.225"}
_BIOPTIMUS = {"mean": "0.707223 0.578729 0.703617", "sd": "0.211883 0.230117 0.177517"}
_KAIKO = {"mean": "0.5 0.5 0.5", "sd": "0.5 0.5 0.5"}
_LUNIT = {
    "mean": "0.70322989 0.53606487 0.66096631",
    "sd": "0.21716536 0.26081574 0.20723464",
}
_CLS = {"pooling": "cls"}
_CLS_AND_MEAN = {"pooling": "cls+mean"}  # of the patches, without registers
_TIMM = {"layout": "timm"}
_TRANSFORMERS = {"layout": "transformers"}
_SWIGLU = {"mlp": "swiglu"}

_ND = "CC BY-NC-ND 4.0, research only"
_ALL_SCALES = (0.25, 0.5, 1.0, 2.0)


def _tiles(
    name: str,
    summary: str,
    size: int,
    weights: plugin.Weights,
    options: dict[str, str | int | float | bool],
    *,
    licence: str,
    citation: str,
    trained_on: tuple[str, ...],
    pixel_size: tuple[float, ...] = (0.5,),
    resize: int = 224,
) -> plugin.EncoderSpec:
    return plugin.EncoderSpec(
        name=name,
        builder=_BUILDER,
        summary=summary,
        embedding_size=size,
        channels=(3, 3),
        slots=_COLOURS,
        stain_synonyms={colour[0]: colour for colour in _COLOURS},
        preprocessing=plugin.Preprocessing(scaling="range", resize=resize, crop=224),
        weights=weights,
        twin=f"{_SCHEME}:{name}",
        options=options,
        licence=licence,
        citation=citation,
        trained_on=trained_on,
        pixel_size=pixel_size,
    )


_OWKIN = (
    _tiles(
        "phikon",
        "ViT-B/16 pre-trained by iBOT on 40 million tiles of TCGA; CLS token",
        768,
        plugin.Weights(repo="owkin/phikon", latest=True, size=343_000_000),
        {"model": "vit_base_patch16_224", **_CLS, **_IMAGENET, **_TRANSFORMERS},
        licence="Owkin, non-commercial: https://github.com/owkin/HistoSSLscaling (LICENSE.txt)",
        citation=works.PHIKON,
        trained_on=("TCGA",),
    ),
    _tiles(
        "phikon-v2",
        "ViT-L/16 pre-trained by DINOv2 on PANCAN-XL; CLS token",
        1024,
        plugin.Weights(
            repo="owkin/phikon-v2",
            revision="419e8285b80eac3b60beca0d9b91942d48ad7b8e",
            size=1_210_000_000,
        ),
        {
            "model": "vit_large_patch16_224",
            "init_values": 1.0,
            **_CLS,
            **_IMAGENET,
            **_TRANSFORMERS,
        },
        licence="Owkin, non-commercial: https://huggingface.co/owkin/phikon-v2 (LICENSE.pdf)",
        citation=works.PHIKON_2,
        trained_on=("TCGA", "CPTAC", "GTEx", "TCIA"),
    ),
)
_MAHMOOD = (
    _tiles(
        "uni",
        "ViT-L/16 pre-trained by DINOv2 on Mass-100K; CLS token",
        1024,
        plugin.Weights(repo="MahmoodLab/UNI", latest=True, filename=_PICKLE, gated=True),
        {
            "model": "vit_large_patch16_224",
            "img_size": 224,
            "patch_size": 16,
            "init_values": 1e-5,
            **_CLS,
            **_IMAGENET,
            **_TIMM,
        },
        licence=_ND,
        citation=works.UNI,
        trained_on=("Mass-100K",),
    ),
    _tiles(
        "uni2-h",
        "ViT-H/14 with 8 registers, pre-trained on H&E and IHC of 350 000 slides; CLS token",
        1536,
        plugin.Weights(repo="MahmoodLab/UNI2-h", latest=True, filename=_PICKLE, gated=True),
        {
            "model": "vit_giant_patch14_224",
            "img_size": 224,
            "patch_size": 14,
            "depth": 24,
            "num_heads": 24,
            "init_values": 1e-5,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "reg_tokens": 8,
            **_SWIGLU,
            **_CLS,
            **_IMAGENET,
            **_TIMM,
        },
        licence=_ND,
        citation=works.UNI,
        trained_on=("350 000 slides of Mass General Brigham",),
    ),
)
_VIRCHOW_ARGUMENTS: dict[str, str | int | float | bool] = {
    "model": "vit_huge_patch14_224",
    "img_size": 224,
    "init_values": 1e-5,
    "mlp_ratio": 5.3375,
    **_SWIGLU,
    **_CLS_AND_MEAN,
    **_IMAGENET,
    **_TIMM,
}
_PAIGE = (
    _tiles(
        "virchow",
        "ViT-H/14 pre-trained by DINOv2 on 1.5 million slides; CLS token and mean of the patches",
        2560,
        plugin.Weights(repo="paige-ai/Virchow", latest=True, size=2_525_000_000, gated=True),
        _VIRCHOW_ARGUMENTS,
        licence="Apache-2.0, with the terms of https://huggingface.co/paige-ai/Virchow",
        citation=works.VIRCHOW,
        trained_on=("1.5 million slides of MSKCC",),
    ),
    _tiles(
        "virchow2",
        "ViT-H/14 with 4 registers, 3.1 million slides; CLS token and mean of the patches",
        2560,
        plugin.Weights(repo="paige-ai/Virchow2", latest=True, size=2_525_000_000, gated=True),
        {**_VIRCHOW_ARGUMENTS, "reg_tokens": 4},
        licence=_ND,
        citation=works.VIRCHOW_2,
        trained_on=("3.1 million slides of MSKCC",),
        pixel_size=_ALL_SCALES,
    ),
)
_GIANT: dict[str, str | int | float | bool] = {
    "model": "vit_giant_patch14_reg4_dinov2",
    "img_size": 224,
    "init_values": 1e-5,
    **_CLS,
    **_BIOPTIMUS,
    **_TIMM,
}
_BIOPTIMUS_ENCODERS = (
    _tiles(
        "h-optimus-0",
        "ViT-g/14 with 4 registers, pre-trained on 500 000 slides; CLS token",
        1536,
        plugin.Weights(
            repo="bioptimus/H-optimus-0",
            latest=True,
            filename=_PICKLE,
            size=4_540_000_000,
            gated=True,
        ),
        _GIANT,
        licence="Apache-2.0",
        citation=works.H_OPTIMUS_0,
        trained_on=("500 000 slides of Bioptimus",),
    ),
    _tiles(
        "h-optimus-1",
        "ViT-g/14 with 4 registers, pre-trained on a million slides; CLS token",
        1536,
        plugin.Weights(repo="bioptimus/H-optimus-1", latest=True, filename=_PICKLE, gated=True),
        _GIANT,
        licence=_ND,
        citation=works.H_OPTIMUS_1,
        trained_on=("1 million slides of Bioptimus",),
    ),
    _tiles(
        "h0-mini",
        "ViT-B/14 with 4 registers, distilled from H-optimus-0; CLS token and mean of the patches",
        1536,
        plugin.Weights(repo="bioptimus/H0-mini", latest=True, filename=_PICKLE, gated=True),
        {
            "model": "vit_base_patch14_reg4_dinov2",
            "img_size": 224,
            "init_values": 1e-5,
            "mlp_ratio": 5.33334,
            **_SWIGLU,
            **_CLS_AND_MEAN,
            **_BIOPTIMUS,
            **_TIMM,
        },
        licence=_ND,
        citation=works.H0_MINI,
        trained_on=("TCGA",),
    ),
)
_MICROSOFT = (
    _tiles(
        "prov-gigapath",
        "Tile encoder of Prov-GigaPath, ViT-g/16 pre-trained on 171 000 slides; CLS token",
        1536,
        plugin.Weights(
            repo="prov-gigapath/prov-gigapath", latest=True, filename=_PICKLE, gated=True
        ),
        {
            "model": "vit_giant_patch14_dinov2",
            "img_size": 224,
            "patch_size": 16,
            "embed_dim": 1536,
            "depth": 40,
            "num_heads": 24,
            "mlp_ratio": 5.33334,
            **_CLS,
            **_IMAGENET,
            **_TIMM,
        },
        licence="Apache-2.0 with conditions, research only: "
        "https://huggingface.co/prov-gigapath/prov-gigapath",
        citation=works.GIGAPATH,
        trained_on=("Prov-Path",),
        resize=256,
    ),
)


def _kaiko(
    short: str, size: int, model: str, commit: str | None, *, repo: str | None = None, **more: int
) -> plugin.EncoderSpec:
    title = f"ViT-{short[3].upper()}/{short[4:]}"
    bytes_of = {384: 86_700_000, 768: 343_000_000, 1024: 1_220_000_000}
    return _tiles(
        f"kaiko-{short}",
        f"{title} of kaiko.ai, pre-trained on TCGA at four magnifications; CLS token",
        size,
        plugin.Weights(
            repo=f"1aurent/{repo or model}.kaiko_ai_towards_large_pathology_fms",
            revision=commit,
            latest=commit is None,
            size=bytes_of[size],
        ),
        {"model": model, **more, **_CLS, **_KAIKO, **_TIMM},
        licence="kaiko.ai, non-commercial; file as converted by 1aurent",
        citation=works.KAIKO,
        trained_on=("TCGA",),
        pixel_size=_ALL_SCALES,
    )


_KAIKO_ENCODERS = (
    _kaiko("vits8", 384, "vit_small_patch8_224", "003775444da0119f90ca63e2b86e454fd06ba797"),
    _kaiko("vits16", 384, "vit_small_patch16_224", "48560ea39969fe44b7b2ab057de01484243a7d43"),
    _kaiko("vitb8", 768, "vit_base_patch8_224", None),
    _kaiko("vitb16", 768, "vit_base_patch16_224", "797c524a94c7fdae8ea33064d0ac6966ed8956bb"),
    _kaiko(
        "vitl14",
        1024,
        "vit_large_patch14_reg4_dinov2",
        "d86df45eccdb957aa7869bab7d11f8e158dcbda2",
        repo="vit_large_patch14_reg4_224",
        img_size=518,  # of the stored positions; tiles of 224 pixels resample them
    ),
)


def _lunit(patch: int, commit: str | None) -> plugin.EncoderSpec:
    return _tiles(
        f"lunit-vits{patch}",
        f"ViT-S/{patch} of Lunit, pre-trained by DINO on TCGA and TULIP; CLS token",
        384,
        plugin.Weights(
            repo=f"1aurent/vit_small_patch{patch}_224.lunit_dino",
            revision=commit,
            latest=commit is None,
            size=86_700_000,
        ),
        {"model": f"vit_small_patch{patch}_224", **_CLS, **_LUNIT, **_TIMM},
        licence="Lunit, non-commercial: https://github.com/lunit-io/benchmark-ssl-pathology "
        "(LICENSE); file as converted by 1aurent",
        citation=works.LUNIT,
        trained_on=("TCGA", "TULIP"),
        pixel_size=(0.25, 0.5),
    )


_LUNIT_ENCODERS = (_lunit(8, "c23bc01cfbe022bc1f2a8a9306125a07818e4eb4"), _lunit(16, None))

ENCODERS = (
    *_OWKIN,
    *_MAHMOOD,
    *_PAIGE,
    *_BIOPTIMUS_ENCODERS,
    *_MICROSOFT,
    *_KAIKO_ENCODERS,
    *_LUNIT_ENCODERS,
)

FAMILIES = (
    plugin.EncoderFamily(
        scheme=_SCHEME,
        resolver="zoo.plugins.encoders.pathology:resolve_untrained",
        summary="The untrained twin of a pathology encoder, random parameters by seed",
        examples=(f"{_SCHEME}:uni", f"{_SCHEME}:h0-mini"),
    ),
)


def resolve_untrained(name: str) -> plugin.EncoderSpec:
    """Describe the network of a pathology encoder with random parameters.

    Raises
    ------
    UnknownNameError
        When there is no such pathology encoder.
    """
    known = {spec.name: spec for spec in ENCODERS}
    if name not in known:
        raise plugin.UnknownNameError(
            f"{_SCHEME}:{name}: there is no pathology encoder called {name!r}."
            f"{plugin.suggest(name, known)}"
        )
    return twin_of(known[name], "pathology")
