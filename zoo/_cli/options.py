"""Options that several commands share."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .._data.choices import Choices
    from .._encoders.contract import Encoder

Command = Callable[..., Any]
TRAINED = "chadavit-idrcell100k"

_LOADING = (
    click.option("--weights", type=click.Path(path_type=Path), help="Local safetensors file."),
    click.option("--seed", type=int, help="Random seed of untrained networks and noise."),
    click.option("--device", help="cpu, cuda, cuda:1; by default a GPU where there is one."),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="Dtype of the computation; 'auto' is float32, but bfloat16 for ChAda-ViT where a GPU "
        "has its fused kernels.",
    ),
    click.option(
        "--scaling",
        type=click.Choice(["auto", "range", "percentile", "instance", "image", "none"]),
        help="Scaling of pixel values, instead of the encoder's record.",
    ),
    click.option(
        "--map",
        "channel_map",
        multiple=True,
        metavar="STAIN=SLOT",
        callback=lambda _context, _option, given: dict(map(_mapped, given)),
        help="Slot of a stain, for an encoder whose channels have a fixed meaning, such as "
        "'Hoechst=DNA'; may be repeated.",
    ),
)
_ASKING = (
    click.option("--dataset", "-d", help="Name (see 'zoo list'), or a table of image files."),
    click.option("--label", help="The column of biology; needed for images of your own."),
    click.option("--group", help="The column of the independent unit: plate, well, patient."),
    click.option("--batch", help="The column of a nuisance (plate, day), for the full suite."),
    click.option(
        "--data", type=click.Path(path_type=Path), help="Where the files of a named dataset are."
    ),
    click.option(
        "--suite",
        type=click.Choice(["scores", "full"]),
        default="scores",
        show_default=True,
        help="Scores with verdicts only, or also more controls and all diagnostics.",
    ),
    click.option(
        "--pairs",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Full suite: CSV of two columns, pairs of perturbations known to be related.",
    ),
    click.option(
        "--control",
        "-c",
        "controls",
        multiple=True,
        help="A control instead of the default ones; may be repeated.",
    ),
    click.option(
        "--control-seeds",
        type=click.IntRange(min=0),
        help="Random seeds of the untrained twin and of noise; by default 1 of the twin (5 in the "
        "full suite) and 5 of noise.",
    ),
    click.option(
        "--permutations",
        type=click.IntRange(min=19),
        help="Label permutations behind chance; by default 19 to 199.",
    ),
    click.option(
        "--margin",
        "margins",
        multiple=True,
        metavar="METRIC=NUMBER",
        callback=lambda _context, _option, given: dict(map(_margin, given)),
        help="Difference that does not matter, such as 'mAP=0.03'; may be repeated.",
    ),
)
_SOURCE = (
    click.option(
        "--pattern",
        metavar="NAMES",
        help="How files are named that hold one channel each, such as "
        "'{plate}_{well}_s{site}_w{channel}.tif'.",
    ),
    click.option(
        "--z",
        metavar="max|mean|middle|N",
        help="How planes in depth become one; N counts from 1.",
    ),
    click.option(
        "--axes", help="Axes of stacks that do not name theirs: CYX, ZCYX, or C2Z3YX with lengths."
    ),
    click.option(
        "--path",
        "paths",
        multiple=True,
        metavar="OLD=NEW",
        help="Where the files of a table are now, such as 'D:\\plates=/data/plates'; repeatable.",
    ),
    click.option(
        "--stain",
        "stains",
        multiple=True,
        metavar="OLD=NEW",
        help="Another name of a stain, such as 'HOECHST 33342=DNA'; repeatable.",
    ),
    click.option("--channels", metavar="A,B", help="The stains to keep, in this order."),
    click.option(
        "--pixel-size",
        type=click.FloatRange(min=0, min_open=True),
        metavar="MICROMETRES",
        help="Side of a pixel, instead of what the files say.",
    ),
    click.option(
        "--tile",
        type=click.IntRange(min=1),
        default=224,
        show_default=True,
        help="Whole slides: side of a tile in pixels.",
    ),
    click.option(
        "--tile-pixel-size",
        type=click.FloatRange(min=0, min_open=True),
        default=0.5,
        show_default=True,
        metavar="MICROMETRES",
        help="Whole slides: side of a tile's pixel.",
    ),
    click.option(
        "--tissue",
        type=click.FloatRange(min=0, max=1),
        default=0.25,
        show_default=True,
        help="Whole slides: smallest share of tissue in a tile that is kept.",
    ),
    click.option(
        "--tile-stride",
        type=click.IntRange(min=1),
        metavar="PIXELS",
        help="Whole slides: from tile to tile; by default their side.",
    ),
    click.option(
        "--crops",
        metavar="WHAT",
        help="Crops instead of whole images: around objects of masks (a folder, a column, or a "
        "pattern such as 'masks/{image}.tif'; 'objects' for those of a LoadData table), around "
        "centroids (a table or database of CellProfiler, DeepProfiler's locations), around "
        "'nuclei' or 'cellpose' cells that are found; or 'tiles'.",
    ),
    click.option("--crop-size", metavar="SIDE", help="Crops: pixels, or such as 40um."),
    click.option("--crop-stride", metavar="SIDE", help="From tile to tile; by default their side."),
    click.option(
        "--edge",
        type=click.Choice(["drop", "shift", "pad"]),
        help="Crops that reach beyond the image: left out (the default), moved, or filled with 0.",
    ),
)
cache_option = click.option(
    "--no-cache", is_flag=True, help="Neither read nor write cached embeddings."
)


def source_options(command: Command) -> Command:
    """Add the options for opening a source; the command gets `choices`."""

    @wraps(command)
    def gathered(
        *args: Any,
        pattern: str | None,
        z: str | None,
        axes: str | None,
        paths: tuple[str, ...],
        stains: tuple[str, ...],
        channels: str | None,
        pixel_size: float | None,
        tile: int,
        tile_pixel_size: float,
        tissue: float,
        tile_stride: int | None,
        crops: str | None,
        crop_size: str | None,
        crop_stride: str | None,
        edge: Any,
        **rest: Any,
    ) -> Any:
        from .._data.choices import Choices, parse_pairs
        from .._data.crops.choice import make_crops

        choices = Choices(
            pattern,
            z,
            axes,
            parse_pairs(paths, "'D:\\plates=/data/plates'"),
            parse_pairs(stains, "'HOECHST 33342=DNA'"),
            tuple(part.strip() for part in channels.split(",")) if channels else (),
            pixel_size,
            tile,
            tile_pixel_size,
            tissue,
            tile_stride,
            make_crops(crops, crop_size, crop_stride, edge),
        )
        return command(*args, choices=choices, **rest)

    return _with(_SOURCE, gathered)


def open_given(source: str | None, choices: "Choices") -> Any:
    """Return a dataset opened with the options of `source_options`, or what was named if none."""
    from .._data.choices import Choices

    if choices == Choices():
        return source
    from zoo.registry import registry

    if source is None or source in registry().datasets:
        what = "no images are named" if source is None else f"{source} is a dataset by its name"
        raise click.UsageError(
            f"options such as --pattern, --stain and --crops are for images of your own, but {what}"
        )
    from .._data.sources import open_source

    return open_source(source, choices).dataset


def loading_options(command: Command) -> Command:
    """Add the options for loading an encoder; the command gets `load`, called with a name."""

    @wraps(command)
    def gathered(
        *args: Any,
        weights: Path | None,
        seed: int | None,
        device: str | None,
        dtype: str,
        scaling: str | None,
        channel_map: dict[str, str],
        **rest: Any,
    ) -> Any:
        load = partial(
            load_encoder,
            weights=weights,
            seed=seed,
            device=device,
            dtype=dtype,
            scaling=scaling,
            channel_map=channel_map,
        )
        return command(*args, load=load, **rest)

    return _with(_LOADING, gathered)


def evaluation_options(command: Command) -> Command:
    """Add the options for an evaluation; the command gets `asked`, arguments of `evaluate`."""

    @wraps(command)
    def gathered(*args: Any, controls: tuple[str, ...], pairs: Path | None, **rest: Any) -> Any:
        names = ("label", "group", "batch", "data", "suite", "control_seeds", "permutations")
        asked = {name: rest.pop(name) for name in (*names, "margins")}
        asked["controls"] = list(controls) or None
        asked["cache"] = not rest.pop("no_cache")
        if pairs is not None:
            import pandas as pd

            asked["pairs"] = pd.read_csv(pairs)
        return command(*args, asked=asked, **rest)

    return _with((*_ASKING, cache_option), gathered)


def load_encoder(
    name: str,
    *,
    scaling: str | None = None,
    channel_map: dict[str, str] | None = None,
    **options: Any,
) -> "Encoder":
    """Load an encoder with the given options; a seed only if the encoder has one."""
    from .._encoders.loading import load

    loaded = load(name, **options)
    if scaling is not None:
        changed: Any = scaling
        loaded.with_preprocessing(replace(loaded.spec.preprocessing, scaling=changed))
    if channel_map:
        loaded.with_channel_map(channel_map)
    return loaded


def load_subject(name: str, load: Callable[[str], "Encoder"]) -> Any:
    """Load an encoder, read a table of embeddings, or return a name for the dataset to resolve."""
    tables = (".csv", ".tsv", ".parquet", ".h5ad")
    if name.lower().removesuffix(".gz").endswith(tables) or (Path(name) / "job.json").is_file():
        from .._embedding.profiles import read_profiles

        return read_profiles(name)
    if name.startswith("precomputed:"):
        return name
    return load(name)


def _mapped(text: str) -> tuple[str, str]:
    stain, equals, slot = (part.strip() for part in text.partition("="))
    if not (stain and equals and slot):
        raise click.BadParameter(f"{text!r} is not STAIN=SLOT, such as 'Hoechst=DNA'")
    return stain, slot


def _margin(text: str) -> tuple[str, float]:
    metric, _, number = text.rpartition("=")
    try:
        return metric.strip(), float(number)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not METRIC=NUMBER, such as 'mAP=0.03'") from None


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
