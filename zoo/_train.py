"""Train an encoder on images of any channel counts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.registry import DataError, MissingExtraError, registry

from ._data.dataset import Dataset
from ._data.sources import load_dataset, open_images
from ._encoders.build import build, get_spec
from ._encoders.contract import Encoder
from ._encoders.loading import load, pick_device
from ._encoders.progress import Progress, silent
from ._report.training import draw_training
from ._training.collapse import Collapse
from ._training.distil import Distillation
from ._training.encoder_folder import write_encoder
from ._training.images import TrainingImages, survey
from ._training.labels import read_labels
from ._training.loop import run
from ._training.predictor import write_predictor
from ._training.probe import make_probe
from ._training.ranks import first_before_others, joined, rank
from ._training.run_folder import RunFolder
from ._training.settings import Settings, read_settings
from ._training.supervised import Supervised

NETWORK = "chadavit-untrained"
FAMILY = "chadavit"
CURVES = "training.png"
NOT_OF_THE_RUN = ("workers", "save_every")
"""Settings that may change when a run goes on, for they change no number."""
Trained = tuple[list[dict[str, Any]], dict[str, torch.nn.Module], str]
"""Log, networks by name, and a sentence on how they were trained."""


@dataclass(frozen=True)
class Training:
    """A finished run.

    Parameters
    ----------
    folder
        Where it is; `zoo.load(run.encoder)` loads its network.
    settings
        All settings.
    log
        One entry a step.
    failures
        Images that were left out, and why.
    waited
        Part of the time in which the network waited for images.
    channels
        Stains by which the network tells its channels; empty where it tells them by position,
        because not all images name theirs, or they have more stains than it has places.
    """

    folder: Path
    settings: Settings
    log: list[dict[str, Any]] = field(repr=False)
    failures: list[tuple[str, str]]
    waited: float
    channels: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of the network's parameters."""
        model = _network(self.settings, None).model
        return 0 if model is None else sum(p.numel() for p in model.parameters())

    @property
    def encoder(self) -> str:
        """Name of the trained encoder."""
        return f"{FAMILY}:{self.folder}"

    @property
    def twin(self) -> str:
        """Name of the same network with random parameters."""
        return f"{NETWORK}:{self.folder}"


def train(
    source: Any,
    out: str | Path,
    *,
    preset: str = "tiny",
    settings: str | Path | None = None,
    start: str | None = None,
    label: str | None = None,
    probe: str | None = None,
    group: str | None = None,
    licence: str = "not stated",
    device: torch.device | str | None = None,
    keep_going: bool = False,
    progress: Progress | None = None,
    **changes: Any,
) -> Training:
    """Train ChAda-ViT on images of any channel counts: by self-distillation, or on labels.

    With `label` the network learns to predict a column, and the folder is a predictor too (see
    `predict`). A fifth of the groups is held out for validation, which ends the run when it no
    longer improves; the network that did best is kept.

    The run goes on where it was left if the folder holds its beginning. Started by ``torchrun``,
    all processes train together.

    Parameters
    ----------
    source
        Name of a dataset, or anything that `open_images` takes.
    out
        Folder of the run: the network for ``chadavit:FOLDER``, its model card, the log and the
        state.
    preset
        ``"tiny"`` (minutes on a CPU), ``"small"`` or ``"paper-size"``.
    settings
        TOML file of settings that differ from the preset.
    start
        Name of the ChAda-ViT to go on from, such as ``"chadavit:FOLDER"``; random parameters by
        default. Its architecture replaces that of the settings.
    label
        Column to be learnt: numbers with more than ten values as numbers, all else as classes.
    probe
        Column of a label that is not learnt: the log then has scores on held-out groups.
    group
        Column of the independent unit, for `label` and `probe`.
    licence
        Licence of the trained network, for its card.
    device
        By default the first NVIDIA GPU if there is one, otherwise the CPU.
    keep_going
        Whether a run that has collapsed goes on.
    progress
        Called with the name of the step, the number done, and their total.
    changes
        Settings by name, such as ``steps=1000``; before those of the file.

    Raises
    ------
    CollapseError
        When the run has collapsed, with what helps.
    DataError
        For images that cannot be trained on, unknown settings, or a folder of another run.
    StoppedError
        After SIGTERM or Ctrl-C; the same call goes on.
    ValueError
        For a setting that is not possible.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = zoo.train("phantom", f"{folder}/mine", device="cpu", steps=2, images=4, size=32,
    ...                     small_size=16)
    ...     zoo.load(run.encoder, device="cpu").embedding_size
    64
    """
    # Of several processes one tells.
    tell = progress if progress and os.environ.get("RANK", "0") == "0" else silent
    chosen = read_settings(preset, None if settings is None else Path(settings), changes)
    if (label is not None or probe is not None) and group is None:
        raise DataError("name the column of the independent unit with group, such as the plate")
    if label is not None:
        chosen = replace(chosen, small_crops=0)
    dataset = _open(source)
    first = load(start, device="cpu") if start is not None else None
    if first is not None:
        chosen = _like(first, chosen)
    known = first.spec.slots if first is not None else ()
    images = survey(dataset, chosen, tell, known=known)
    chosen = chosen.for_sides(images.shortest)
    columns = {"label": label, "probe": probe, "group": group}
    with joined(pick_device(device)) as here:
        with first_before_others():  # one of them makes the folder
            folder = RunFolder(Path(out), _record(chosen, images, start, columns))
            if rank() == 0:
                folder.write_record(failures=images.failures)
        encoder = _network(chosen, first).to(here)
        if label is None or group is None:
            trained = _distil(encoder, chosen, images, folder, columns, keep_going, tell)
        else:
            trained = _fit(encoder, chosen, images, folder, label, group, tell)
        log, networks, summary = trained
        if rank() == 0:
            _draw(folder, log, None if label is not None else chosen.prototypes)
            write_encoder(
                folder,
                networks,
                chosen,
                data=dataset.name,
                hashes=images.hashes,
                channels=images.names,
                licence=licence,
                summary=summary,
            )
    waited = log[-1]["waiting"] / max(log[-1]["seconds"], 1e-9)
    return Training(folder.path, chosen, log, images.failures, waited, images.names)


def _distil(
    encoder: Encoder,
    settings: Settings,
    images: TrainingImages,
    folder: RunFolder,
    columns: Mapping[str, str | None],
    keep_going: bool,
    tell: Progress,
) -> Trained:
    """Train without labels."""
    objective = Distillation(encoder, settings)
    probe, label, group = None, columns["probe"], columns["group"]
    if label is not None and group is not None:
        probe = make_probe(objective.student.encoder, images, images.dataset, label, group)
    collapse = None if keep_going else Collapse(settings.steps)
    log = run(objective, images, settings, folder, collapse=collapse, probe=probe, progress=tell)
    networks = {name: getattr(objective, name).network for name in ("teacher", "student")}
    how = f"Self-distillation (DINO) on {len(images)} images, {settings.steps} steps."
    return log, networks, how


def _fit(
    encoder: Encoder,
    settings: Settings,
    images: TrainingImages,
    folder: RunFolder,
    label: str,
    group: str,
    tell: Progress,
) -> Trained:
    """Train on a column."""
    images, labels = read_labels(images, images.dataset, label, group, seed=settings.seed)
    objective = Supervised(encoder, settings, images, labels)
    log = run(
        objective,
        images.part(np.flatnonzero(~labels.held_out).tolist()),
        settings,
        folder,
        collapse=None,
        probe=objective.validate,
        progress=tell,
    )
    objective.take_best()
    if rank() == 0:
        write_predictor(folder, objective.student.head, labels)
    how = (
        f"It was trained to predict {label} on {int((~labels.held_out).sum())} images, and scored "
        f"{objective.best_score:.2f} on {int(labels.held_out.sum())} images of held-out "
        f"{group} ({'R²' if labels.classes is None else 'balanced accuracy'})."
    )
    return log, {"student": objective.student.network}, how


def _open(source: Any) -> Dataset:
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str) and source in registry().datasets:
        return load_dataset(source)
    return open_images(source)


def _network(settings: Settings, first: Encoder | None) -> Encoder:
    """The network to train: a copy of `first`, or one with random parameters."""
    spec = replace(
        get_spec(NETWORK),
        options=settings.architecture,
        embedding_size=settings.embed_dim,
        channels=(1, settings.max_channels),
        preprocessing=settings.preprocessing,
    )
    made = build(spec, seed=settings.seed)
    if first is not None:
        assert made.model is not None
        assert first.model is not None
        made.model.load_state_dict(first.model.state_dict())
    return made


def _like(first: Encoder, settings: Settings) -> Settings:
    """Settings with the architecture of an encoder; raises `DataError` unless it is ChAda-ViT."""
    options: Mapping[str, Any] = first.spec.options
    if set(options) != set(settings.architecture):
        raise DataError(f"{first.name} is not a ChAda-ViT, so it cannot be trained on")
    kept = ("depth", "embed_dim", "num_heads", "patch_size", "hidden_dim")
    found: dict[str, Any] = {name: options[name] for name in kept}
    return replace(
        settings,
        **found,
        size=options["img_size"],
        max_channels=options["max_number_channels"],
        scaling=first.spec.preprocessing.scaling,
    )


def _record(
    settings: Settings,
    images: TrainingImages,
    start: str | None,
    columns: Mapping[str, str | None],
) -> dict[str, Any]:
    """What a run depends on."""
    plain = settings.to_dict()
    for name in NOT_OF_THE_RUN:
        del plain[name]
    return {
        "settings": plain,
        "images": {"name": images.dataset.name, "sha256": images.fingerprint},
        "start": start,
        "columns": dict(columns),
    }


def _draw(folder: RunFolder, log: list[dict[str, Any]], prototypes: int | None) -> None:
    """Draw the curves, where matplotlib is installed."""
    try:
        folder.write(CURVES, lambda path: draw_training(log, path, prototypes=prototypes))
    except MissingExtraError:
        return
