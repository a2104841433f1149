"""Who takes part in an evaluation: an encoder and the controls that it must beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zoo.registry import (
    EncoderSpec,
    EvaluationError,
    Preprocessing,
    UnknownNameError,
    WeightsError,
    near,
    registry,
)

from .._data.dataset import Dataset, Precomputed
from .._embedding.cache import EmbeddingCache
from .._embedding.embed import Embeddings, embed_many
from .._encoders.contract import Encoder
from .._encoders.loading import load

CONTROLS = (
    "constant",
    "gaussian",
    "pixel-statistics",
    "object-density",
    "cell-structure",
    "untrained:resnet18/concat",
    "untrained:vit_small_patch16_224/concat",
)
# What the full suite adds, beside the encoder's own network without one of its abilities.
MORE_CONTROLS = ("texture", "timm:vit_small_patch14_dinov2.lvd142m/concat")
# Where images differ in their number of channels, joining channels has no meaning.
_RAGGED = {"pixel-statistics": "pixel-statistics-mean", "texture": "texture-mean"}
ONLY_NOISE = "there are none; to beat noise shows that there is a signal, not that it is biology"
NOISE = {"degenerate"}
_PRECOMPUTED = "precomputed:"

Subject = str | Encoder | Embeddings


@dataclass(frozen=True)
class Contender:
    """An encoder in one or several draws, embedded.

    Parameters
    ----------
    spec
        Its record.
    embeddings
        One for each seed.
    encoders
        What made them, in the same order; empty for embeddings that came from elsewhere.
    """

    spec: EncoderSpec
    embeddings: tuple[Embeddings, ...]
    encoders: tuple[Encoder, ...] = ()


def default_controls(dataset: Dataset, *, full: bool) -> tuple[str, ...]:
    """Names of the controls that need nothing but the images of a dataset."""
    spec = dataset.spec
    ragged = spec is not None and spec.channels[0] != spec.channels[1]
    names = CONTROLS + MORE_CONTROLS * full
    if full and dataset.read is not None and dataset[0].types is not None:
        names += ("cell-structure-typed",)
    if ragged:
        return tuple(_RAGGED.get(n, n.replace("/concat", "/mean")) for n in names)
    return names


def contend(
    subject: Subject,
    dataset: Dataset,
    *,
    controls: Sequence[str] | None = None,
    full: bool = False,
    twin_seeds: int = 5,
    cache: EmbeddingCache | None = None,
    progress: Callable[[int], object] | None = None,
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Embed a dataset with an encoder and its controls.

    Returns
    -------
    contenders
        By name, the encoder under test first.
    absent
        Controls of the usual ones that cannot take part here, with the reason. Controls asked for
        by name raise instead.
    """
    if isinstance(subject, str):
        subject = _open(subject, dataset)
    if isinstance(subject, Embeddings):
        subject = _matched(subject, dataset)
    if dataset.read is None:
        given = _without_images(subject, dataset, controls, twin_seeds)
        kinds = {c.spec.control for c in list(given.values())[1:]}
        return given, ({"every control that sees images": ONLY_NOISE} if kinds == NOISE else {})

    prepared = subject.spec.preprocessing if isinstance(subject, Encoder) else None
    device = subject.device if isinstance(subject, Encoder) else None
    names = controls if controls is not None else default_controls(dataset, full=full)
    absent: dict[str, str] = {}
    members: dict[str, list[Encoder]] = {}
    if isinstance(subject, Encoder):
        members[subject.name] = [subject]

    def add(name: str, seeds: Sequence[int | None], weights: Path | None = None) -> None:
        if name in members or name == name_of(subject):
            return
        try:
            members[name] = [
                load(name, device=device, seed=s, preprocessing=prepared, weights=weights)
                for s in seeds
            ]
        except WeightsError as error:
            if controls is not None:
                raise
            absent[name] = str(error)

    for name in names:
        spec = _record(name, absent if controls is None else None)
        if spec is not None:
            # One draw of noise can score anything: several, averaged, show its level.
            add(name, range(max(twin_seeds, 1)) if spec.control == "degenerate" else [None])
    if isinstance(subject, Encoder):
        twin = subject.spec.twin
        if twin is not None and twin_seeds > 0:
            add(twin, range(twin_seeds))
        if full and controls is None:
            _add_partial(subject, dataset, add, absent)

    flat = [e for encoders in members.values() for e in encoders]
    embedded = embed_many(dataset, flat, cache=cache, progress=progress)
    contenders: dict[str, Contender] = {}
    if isinstance(subject, Embeddings):
        contenders[name_of(subject)] = Contender(record_of(subject), (subject,))
    for name, encoders in members.items():
        parts, embedded = embedded[: len(encoders)], embedded[len(encoders) :]
        contenders[name] = Contender(encoders[0].spec, tuple(parts), tuple(encoders))
    if len(contenders) == 1:
        raise EvaluationError("a score never stands alone: name at least one control")
    return contenders, absent


def _add_partial(
    subject: Encoder,
    dataset: Dataset,
    add: Callable[[str, Sequence[int | None], Path | None], None],
    absent: dict[str, str],
) -> None:
    """Add the encoder's own network on one channel at a time and on segmentations alone."""
    spec = dataset.spec
    several = spec is None or spec.channels[1] > 1
    join = "concat" if spec is not None and spec.channels[0] == spec.channels[1] else "mean"
    names = [f"mask-only:{subject.name}"]
    if several and not subject.equal_channels and subject.name.partition(":")[0] != "one-channel":
        names.insert(0, f"one-channel:{subject.name}/{join}")
    source = Path(subject.weights_source) if subject.weights_source else None
    weights = source if source is not None and source.is_file() else None
    for name in names:
        if not subject.from_registry:
            absent[name] = "the encoder under test was not loaded by name"
            continue
        own = subject.spec.role == "control" and subject.spec.control != "untrained"
        if not own:  # descriptions by hand are no network whose abilities could be taken away
            seeds: Sequence[int | None] = [subject.seed] if subject.spec.seeded else [None]
            add(name, seeds, weights)


def _record(name: str, absent: dict[str, str] | None) -> EncoderSpec | None:
    """Return the record of a control, or note why a usual one cannot be had."""
    try:
        return registry().encoder(name)
    except WeightsError as error:
        if absent is None:
            raise
        absent[name] = str(error)
        return None


def _open(name: str, dataset: Dataset) -> Encoder | Embeddings:
    """Load an encoder, or read embeddings that come with the dataset."""
    if not name.startswith(_PRECOMPUTED):
        return load(name)
    wanted = name.removeprefix(_PRECOMPUTED)
    if wanted not in dataset.profiles:
        known = list(dataset.profiles)
        has = f"has {', '.join(known)}" if known else "has none"
        raise UnknownNameError(
            f"{dataset.name} has no embeddings called {wanted!r}; it {has}.{near(wanted, known)}"
        )
    return precomputed(wanted, dataset)


def precomputed(name: str, dataset: Dataset) -> Embeddings:
    """Read embeddings that come with a dataset, checked against its table."""
    import zoo

    profile = dataset.profiles[name]
    provenance = {
        "zoo": zoo.__version__,
        "dataset": dataset.name,
        "encoder": f"{_PRECOMPUTED}{name}",
        "summary": profile.summary,
    }
    return _matched(Embeddings(profile.read(), dataset.metadata, provenance), dataset)


def name_of(subject: Encoder | Embeddings) -> str:
    """Name of an encoder, or of the one that embeddings came from."""
    if isinstance(subject, Encoder):
        return subject.name
    return str(subject.provenance.get("encoder", f"{_PRECOMPUTED}embeddings"))


def record_of(embeddings: Embeddings, profile: Precomputed | None = None) -> EncoderSpec:
    """Describe embeddings that came from elsewhere as far as they describe themselves."""
    spec = EncoderSpec(
        name="embeddings",
        builder="zoo:Embeddings",
        summary=str(embeddings.provenance.get("summary", "Embeddings made elsewhere")),
        embedding_size=embeddings.matrix.shape[1],
        preprocessing=Preprocessing(),
    )
    if profile is not None:
        return replace(spec, role=profile.role, control=profile.control)
    return spec


def _matched(embeddings: Embeddings, dataset: Dataset) -> Embeddings:
    """Refuse embeddings that are not of these items in this order."""
    name, matrix = name_of(embeddings), embeddings.matrix
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise EvaluationError(f"{name} must be (items, dimensions), not of shape {matrix.shape}")
    if len(matrix) != len(dataset):
        raise EvaluationError(f"{name} has {len(matrix)} rows, but {dataset.name} {len(dataset)}")
    if (wrong := int((~np.isfinite(matrix)).any(1).sum())) > 0:
        raise EvaluationError(
            f"{name} has NaN or infinite numbers in {wrong} of {len(matrix)} rows"
        )
    for column in ("image", "image_path", "well_id", "well"):
        tables = (embeddings.metadata, dataset.metadata)
        if all(column in table.columns for table in tables):
            mine, theirs = (table[column].astype(str).to_numpy() for table in tables)
            if (apart := int((mine != theirs).sum())) > 0:
                raise EvaluationError(
                    f"{name} and {dataset.name} differ in the column {column!r} for {apart} of "
                    f"{len(matrix)} items: the rows must be the same, in the same order"
                )
            break
    return replace(embeddings, metadata=dataset.metadata.reset_index(drop=True))


def _without_images(
    subject: Encoder | Embeddings,
    dataset: Dataset,
    controls: Sequence[str] | None,
    seeds: int,
) -> dict[str, Contender]:
    """Gather contenders where there are embeddings only: noise, and controls among them."""
    if isinstance(subject, Encoder):
        raise EvaluationError(
            f"{dataset.name} has no images for {subject.name} to embed: evaluate "
            + " or ".join(f"{_PRECOMPUTED}{p}" for p in dataset.profiles)
        )
    known = {f"{_PRECOMPUTED}{name}": p for name, p in dataset.profiles.items()}
    own = name_of(subject)
    contenders = {own: Contender(record_of(subject, known.get(own)), (subject,))}
    usual = ("constant", "gaussian", *(n for n, p in known.items() if p.role == "control"))
    for name in controls if controls is not None else usual:
        if name == own:
            continue
        if name in known:
            found = precomputed(name.removeprefix(_PRECOMPUTED), dataset)
            contenders[name] = Contender(record_of(found, known[name]), (found,))
        elif name in ("constant", "gaussian"):
            record = registry().encoder(name)
            draws = tuple(_noise(record, dataset, s) for s in range(max(seeds, 1)))
            contenders[name] = Contender(record, draws)
        else:
            raise EvaluationError(
                f"{dataset.name} has no images, so {name} cannot be a control: take "
                + ", ".join(usual)
            )
    if len(contenders) == 1:
        raise EvaluationError("a score never stands alone: name at least one control")
    return contenders


def _noise(record: EncoderSpec, dataset: Dataset, seed: int) -> Embeddings:
    """Draw noise by the place of an item, where there is no content to draw it by."""
    import zoo

    size = record.embedding_size or 1
    rng = np.random.default_rng([seed, 77])
    rows = rng.standard_normal((len(dataset), size)) * float(record.options["sd"])
    matrix = (rows + float(record.options["offset"])).astype(np.float32)
    provenance = {"zoo": zoo.__version__, "dataset": dataset.name, "encoder": record.name}
    return Embeddings(matrix, dataset.metadata, {**provenance, "seed": seed})
