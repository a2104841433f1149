"""Whole runs: what they write, how they go on, and how they fail."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo._training.collapse import Collapse
from zoo._training.loop import VOLATILE
from zoo._training.run_folder import RunFolder

from .conftest import SMALL, striped

HERE = Path(__file__).parent


def run(data, folder, **changes):
    return zoo.train(data, folder, device="cpu", **{**SMALL, **changes})


def steady(folder):
    """The log without what the clock says."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in VOLATILE} for row in rows]


def networks(folder):
    return {
        name: load_file(path)
        for name in (".", "student")
        if (path := folder / name / "model.safetensors").exists()
    }


def assert_same(one, other):
    assert steady(one) == steady(other)
    first, second = networks(one), networks(other)
    assert first.keys() == second.keys() == {".", "student"}
    for name, state in first.items():
        for key, tensor in state.items():
            assert torch.equal(tensor, second[name][key]), (name, key)


@pytest.fixture(scope="module")
def whole(stripes, tmp_path_factory):
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    return run(stripes, folder, probe="stripe", group="well")


def test_the_folder_is_an_encoder_with_a_twin(whole, stripes):
    trained = zoo.load(whole.encoder, device="cpu")
    assert trained.spec.preprocessing.crop == 48
    assert trained.spec.preprocessing.resize is None
    assert trained.spec.trained_on == ("stripes",)
    twin = zoo.load(whole.twin, device="cpu", seed=3)
    assert twin.spec.preprocessing == trained.spec.preprocessing
    images = [stripes[i].pixels for i in range(3)]
    found, other = trained.encode(images).embedding, twin.encode(images).embedding
    assert found.shape == other.shape == (3, 32)
    assert not torch.allclose(found, other)


def test_teacher_and_student_are_both_there_and_the_card_says_which(whole):
    card = (whole.folder / "README.md").read_text()
    assert "`zoo.load` gives the teacher. The student is in `student/`." in card
    teacher = zoo.load(whole.encoder, device="cpu")
    student = zoo.load(f"{whole.encoder}/student", device="cpu")
    image = [np.random.default_rng(0).integers(0, 999, (2, 64, 64), dtype=np.uint16)]
    assert not torch.equal(teacher.encode(image).embedding, student.encode(image).embedding)
    assert (whole.folder / "training.png").read_bytes().startswith(b"\x89PNG")


def test_everything_is_recorded(whole):
    record = json.loads((whole.folder / "run.json").read_text())["run"]
    assert record["settings"]["steps"] == 6
    assert record["settings"]["prototypes"] == 32
    assert record["images"]["name"] == "stripes"
    assert len(record["images"]["sha256"]) == 64
    assert len((whole.folder / "images.sha256").read_text().split()) == 24
    last = whole.log[-1]
    assert {"loss", "teacher_entropy", "entropy_of_mean", "spread", "knn", "probe"} <= last.keys()
    assert 0 <= whole.waited <= 1


@pytest.mark.parametrize("at", [1, 4])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(whole, stripes, tmp_path, at):
    """SIGTERM, as schedulers send it: the state is saved, and the same call goes on."""
    folder = tmp_path / "stopped"

    def stop(what, done, total):
        if what.startswith("training") and done == at:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(zoo.errors.StoppedError, match=rf"step {at} of 6.*start the same command"):
        run(stripes, folder, probe="stripe", group="well", progress=stop)
    run(stripes, folder, probe="stripe", group="well", workers=4)
    assert_same(whole.folder, folder)


def test_a_run_that_is_killed_goes_on_from_its_last_state(whole, stripes, tmp_path):
    """kill -9 between two states: the log's rows after the last state are made again."""
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.zoo.training.conftest import SMALL, striped\n"
        "import torch, zoo\n"
        "torch.set_num_threads(1)\n"
        "def kill(what, done, total):\n"
        "    if what.startswith('training') and done == 4: os.kill(os.getpid(), 9)\n"
        "zoo.train(striped(), sys.argv[2], device='cpu', probe='stripe', group='well',\n"
        "          progress=kill, **{**SMALL, 'save_every': float(sys.argv[3])})\n"
    )
    for seconds, states in ((1e-6, True), (99, False)):
        folder = tmp_path / str(seconds)
        root = str(HERE.parents[2])
        killed = subprocess.run([sys.executable, "-c", script, root, str(folder), str(seconds)])
        assert killed.returncode == -9
        assert (folder / "state.pt").exists() == states
        assert len(steady(folder)) == 4
        run(stripes, folder, probe="stripe", group="well")
        assert_same(whole.folder, folder)


def test_another_run_in_the_folder_is_refused(whole, stripes):
    before = networks(whole.folder)
    with pytest.raises(zoo.errors.DataError, match=r"settings\.seed was 0 and is 1"):
        run(stripes, whole.folder, probe="stripe", group="well", seed=1)
    with pytest.raises(zoo.errors.DataError, match=r"images\.sha256 was"):
        run(striped(seed=5), whole.folder, probe="stripe", group="well")
    for name, state in networks(whole.folder).items():
        assert all(torch.equal(before[name][k], v) for k, v in state.items())


def test_a_folder_of_other_files_is_refused(stripes, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(zoo.errors.DataError, match="holds files, but no run"):
        run(stripes, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_state_that_was_changed_is_refused(stripes, tmp_path):
    folder = tmp_path / "run"
    run(stripes, folder)
    state = bytearray((folder / "state.pt").read_bytes())
    state[len(state) // 2] ^= 255
    (folder / "state.pt").write_bytes(state)
    with pytest.raises(zoo.errors.DataError, match="broken or was changed"):
        run(stripes, folder)


def test_a_full_disk_keeps_the_last_state(stripes, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    write, calls = Path.write_bytes, []

    def full(path, content):
        calls.append(path)
        if len(calls) == 3:
            write(path, content[:99])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(zoo.errors.DataError, match=r"No space left on device.*make room"):
        run(stripes, folder, save_every=1e-6)
    assert not list(folder.glob("*.partial"))
    assert len(calls) == 3
    assert (folder / "state.pt").stat().st_size > 99
    run(stripes, folder)
    run(stripes, tmp_path / "other")
    assert_same(folder, tmp_path / "other")


# Settings that collapse: strong views and no batch normalisation.
UNIFORM = {"batch_norm": False, "gain": 0.5, "shift": 0.3, "large_area": (0.05, 1.0)}


def test_collapse_is_named(stripes, tmp_path):
    with pytest.raises(zoo.errors.CollapseError, match=r"collapsed to the uniform solution.*helps"):
        run(stripes, tmp_path / "run", steps=400, learning_rate=0.02, momentum=0.99, **UNIFORM)


def test_a_collapsed_run_goes_on_if_told_to(stripes, tmp_path):
    found = run(
        stripes, tmp_path / "run", steps=130, learning_rate=0.02, keep_going=True, **UNIFORM
    )
    assert len(found.log) == 130


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"loss_of_uniform": 0.999, "teacher_entropy": 0.99, "entropy_of_mean": 0.999}, "uniform"),
        (
            {"loss_of_uniform": 0.01, "teacher_entropy": 0.01, "entropy_of_mean": 0.01},
            "one prototype",
        ),
        ({"loss_of_uniform": 0.83, "teacher_entropy": 0.6, "entropy_of_mean": 0.8}, None),
        ({"loss_of_uniform": 1.06, "teacher_entropy": 0.5, "entropy_of_mean": 0.9}, None),
    ],
)
def test_what_counts_as_collapsed(row, named):
    watch = Collapse(1000)
    said = [watch(step, row) for step in range(1000)]
    assert set(said[:200]) == {None}
    assert set(said[200:]) == {named}


def test_one_prototype_is_recognised_in_a_run(stripes, tmp_path):
    """Without centring by a slow learner the teacher settles on one prototype."""
    with pytest.raises(zoo.errors.CollapseError, match="one prototype"):
        run(
            stripes,
            tmp_path / "run",
            steps=600,
            learning_rate=0.05,
            batch_norm=False,
            teacher_temperature=0.001,
            first_teacher_temperature=0.001,
            momentum=0.5,
        )


def one(pixels):
    return zoo.Image(np.asarray(pixels))


GOOD = np.random.default_rng(0).integers(0, 999, (4, 2, 48, 48), dtype=np.uint16)
NAN = np.full((2, 48, 48), np.nan, np.float32)


@pytest.mark.parametrize(
    ("images", "left", "why"),
    [
        ([*GOOD, GOOD[0][:, :20]], 1, "20 × 48 pixels, smaller than the crops of 32"),
        ([*GOOD, np.zeros((2, 48, 48), np.uint8)], 1, "is constant"),
        ([*GOOD, NAN], 1, "NaN"),
        ([*GOOD, np.concatenate([GOOD[0]] * 6)], 1, "12 channels.*places for 10"),
        ([*GOOD, GOOD[0].astype(np.uint8), GOOD[1, :1, :40].astype(np.float32)], 0, ""),
    ],
)
def test_images_that_cannot_be_used_are_named_and_left_out(images, left, why, tmp_path):
    data = zoo.open_images([one(i) for i in images])
    found = run(data, tmp_path / "run", steps=2, images=4)
    assert len(found.failures) == left
    if left:
        assert found.failures[0][0] == "image 4"

        assert re.search(why, found.failures[0][1])


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(zoo.errors.DataError, match=r"1 usable image.*needs 2.*constant"):
        run(zoo.open_images([one(GOOD[0]), one(np.zeros((1, 48, 48)))]), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 3}, "no setting 'step'. Did you mean 'steps'"),
        ({"steps": "many"}, "steps is 'many', but must be a whole number"),
        ({"size": 30}, "size is 30, but must be a multiple of patch_size"),
        ({"optimiser": "adam"}, "must be one of adamw, sgd"),
        ({"large_area": (0.8, 0.2)}, "large_area is 0.8 to 0.2"),
        ({"preset": "tinny"}, "no preset 'tinny'.*Did you mean 'tiny'"),
        ({"probe": "stripe"}, "name the column of the independent unit"),
        ({"probe": "strip", "group": "well"}, "strip.*stripe"),
        ({"start": "pixel-statistics"}, "is not a ChAda-ViT"),
    ],
)
def test_settings_that_are_not_possible(stripes, tmp_path, changes, message):
    with pytest.raises((ValueError, zoo.ZooError), match=message):
        run(stripes, tmp_path / "run", **changes)


def test_settings_from_a_file_and_from_arguments(stripes, tmp_path):
    (tmp_path / "mine.toml").write_text("steps = 3\nlarge_area = [0.6, 0.9]\n")
    found = run(stripes, tmp_path / "run", settings=tmp_path / "mine.toml")
    assert found.settings.large_area == (0.6, 0.9)
    assert found.settings.steps == 6
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(zoo.errors.DataError, match="not a readable TOML"):
        run(stripes, tmp_path / "other", settings=tmp_path / "bad.toml")


def named(*stains_of_images):
    return zoo.open_images(
        [zoo.Image(GOOD[i % 4][: len(s)], stains=s) for i, s in enumerate(stains_of_images)]
    )


def test_channels_are_told_by_their_stains_where_all_images_name_them(tmp_path):
    """DNA is the same channel, wherever it stands in an image."""
    data = named(("DNA", "ER"), ("ER", "DNA"), ("DNA",), ("Mito",))
    found = run(data, tmp_path / "run", steps=1, images=4)
    trained = zoo.load(found.encoder, device="cpu")
    assert trained.spec.slots == ("DNA", "ER", "Mito")
    one, other = GOOD[0], GOOD[0][::-1].copy()
    a, b = trained.encode([one, other], stains=[("Hoechst", "ER"), ("ER", "DNA")]).embedding
    assert torch.allclose(a, b, atol=1e-5)
    assert zoo.load(found.twin, device="cpu").spec.slots == trained.spec.slots
    later = run(
        named(("ER",), ("AGP", "DNA")), tmp_path / "later", start=found.encoder, steps=1, images=2
    )
    assert zoo.load(later.encoder, device="cpu").spec.slots == ("DNA", "ER", "Mito", "AGP")


@pytest.mark.parametrize("stains", [[("DNA", "ER"), None], [("DNA", "dna"), ("DNA", "ER")]])
def test_channels_are_told_by_position_otherwise(tmp_path, stains):
    images = [zoo.Image(p, stains=s) for p, s in zip(GOOD, stains, strict=False)]
    found = run(zoo.open_images(images), tmp_path / "run", steps=1, images=2)
    assert zoo.load(found.encoder, device="cpu").spec.slots == ()


def test_more_stains_than_places_are_told_by_position(tmp_path):
    found = run(
        named(("DNA", "ER"), ("Mito",)), tmp_path / "run", max_channels=2, steps=1, images=2
    )
    assert found.channels == zoo.load(found.encoder, device="cpu").spec.slots == ()


def test_a_run_that_starts_from_another(whole, stripes, tmp_path):
    """The network goes on from the parameters of the other."""
    found = run(stripes, tmp_path / "run", start=whole.encoder, steps=1, learning_rate=1e-12)
    before, after = networks(whole.folder)["."], networks(found.folder)["."]
    assert all(torch.allclose(before[k], v, atol=1e-6) for k, v in after.items())


@pytest.mark.parametrize("label", ["stripe", "period"])
def test_a_run_on_labels_is_an_encoder_and_a_predictor(stripes, tmp_path, label):
    found = run(stripes, tmp_path / "run", label=label, group="well", steps=60, learning_rate=0.1)
    losses = [row["loss"] for row in found.log]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert zoo.load(found.encoder, device="cpu").embedding_size == 32
    table = zoo.predict(found.folder, striped(seed=1), device="cpu")
    truth, predicted = table[label], table[f"predicted_{label}"]
    if label == "stripe":
        assert (truth == predicted).mean() > 0.8
        assert table[["probability_narrow", "probability_wide"]].sum(axis=1).round(5).eq(1).all()
    else:
        assert np.corrcoef(truth, predicted)[0, 1] > 0.8


def test_frozen_layers_stay(whole, stripes, tmp_path):
    found = run(
        stripes,
        tmp_path / "run",
        start=whole.encoder,
        label="stripe",
        group="well",
        trained_layers=1,
        learning_rate=0.1,
        warmup=0.0,  # the first step may be the best one, and then has to move something
    )
    before, after = networks(whole.folder)["."], load_file(found.folder / "model.safetensors")
    moved = {k for k, v in after.items() if not torch.equal(v, before[k])}
    assert moved
    assert all(k.startswith(("blocks.1.", "norm.")) for k in moved)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"label": ["a"] * 24, "group": list("abcd") * 6}, "label has one value"),
        ({"label": ["a", "b"] * 12, "group": ["x"] * 24}, "group has one value"),
        ({"label": [None] * 24, "group": list("abcd") * 6}, "no image has both"),
        ({"label": list("abcd") * 6, "group": list("abcd") * 6}, "in held-out groups only"),
    ],
)
def test_labels_that_cannot_be_learnt(stripes, tmp_path, table, message):
    data = zoo.Dataset("labelled", pd.DataFrame(table), stripes.read)
    with pytest.raises(zoo.errors.DataError, match=message):
        run(data, tmp_path / "run", label="label", group="group")


def test_a_folder_without_a_predictor_predicts_nothing(whole, stripes):
    with pytest.raises(zoo.errors.DataError, match=r"predicts nothing.*--label"):
        zoo.predict(whole.folder, stripes)


def test_groups_never_straddle_training_and_validation(stripes, tmp_path):
    from zoo._training.images import survey
    from zoo._training.labels import read_labels
    from zoo._training.settings import read_settings

    images = survey(stripes, read_settings("tiny", None, SMALL))
    for seed in range(5):
        _, labels = read_labels(images, stripes, "stripe", "well", seed=seed)
        wells = stripes.metadata["well"].to_numpy()
        assert not set(wells[labels.held_out]) & set(wells[~labels.held_out])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(zoo.errors.DataError, match="cannot be made"):
        RunFolder(tmp_path / "file" / "run", {})


@pytest.mark.long
@pytest.mark.parametrize("centring", ["mean", "sinkhorn"])
def test_the_usual_settings_of_the_method_collapse_on_synthetic_plates(tmp_path, centring):
    """Strong jitter, no batch normalisation, a slow teacher: the uniform solution, said by name."""
    with pytest.raises(zoo.errors.CollapseError, match="uniform"):
        zoo.train(
            "phantom",
            tmp_path / "run",
            device="cpu",
            steps=130,
            images=24,
            small_crops=0,
            batch_norm=False,
            gain=0.5,
            shift=0.2,
            large_area=(0.4, 1.0),
            momentum=0.99,
            learning_rate=0.01,
            centring=centring,
            spread=0.1 if centring == "sinkhorn" else 0.0,
        )


def test_half_precision_follows_full_precision(stripes, tmp_path):
    """Products in bfloat16; parameters, head and what is saved stay float32."""
    full = run(stripes, tmp_path / "full")
    half = run(stripes, tmp_path / "half", precision="bfloat16")
    for one, other in zip(full.log, half.log, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], abs=0.3)
    assert full.log[-1]["loss"] != half.log[-1]["loss"]
    assert {t.dtype for t in networks(half.folder)["."].values()} == {torch.float32}


def test_a_part_of_the_images_keeps_the_places_of_channels():
    """Held-out images must not see other places than those that the network was trained with."""
    from zoo._training.images import survey
    from zoo._training.settings import read_settings

    images = survey(named(("DNA",), ("ER", "DNA"), ("ER",)), read_settings("tiny", None, SMALL))
    later = images.part([1, 2])
    assert later.names == images.names == ("DNA", "ER")
    assert later.index(0).tolist() == [1, 0]


def test_a_run_that_ended_early_does_not_go_on(stripes, tmp_path):
    asked = {"label": "stripe", "group": "well", "steps": 60, "learning_rate": 0.0001}
    first = run(stripes, tmp_path / "run", **asked)
    assert len(first.log) < 60, "validation stopped improving"
    again = run(stripes, tmp_path / "run", **asked)
    assert len(again.log) == len(first.log)


def test_a_loss_that_is_no_number_is_told(stripes, tmp_path):
    with pytest.raises(zoo.errors.CollapseError, match="lower learning_rate"):
        run(stripes, tmp_path / "run", learning_rate=1e30, optimiser="sgd", warmup=0.0)
