"""zoo train and zoo predict, as typed."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner

from zoo._cli import main

SMALL = "depth=1 embed_dim=32 hidden_dim=64 patch_size=8 size=32 small_size=16 window=64 images=6"
SMALL += " prototypes=16 head_hidden=16 head_bottleneck=8 steps=2"


@pytest.fixture
def plate(tmp_path):
    draw = np.random.default_rng(0)
    rows = []
    for i in range(12):
        path = tmp_path / f"field {i}.tif"
        pixels = draw.poisson(20 + 60 * (i % 2), (1 + i % 3, 48, 48)).astype(np.uint16)
        tifffile.imwrite(path, pixels, photometric="minisblack")
        rows.append((path.name, "AB"[i % 2], f"W{i // 4}"))
    table = tmp_path / "plate.csv"
    pd.DataFrame(rows, columns=["image", "dose", "well"]).to_csv(table, index=False)
    return table


def typed(*words):
    settings = [w for s in SMALL.split() for w in ("--set", s)]
    return CliRunner().invoke(main, [*map(str, words), *(settings if words[0] == "train" else [])])


def test_train_evaluate_predict(plate, tmp_path):
    out = tmp_path / "run"
    done = typed("train", plate, "-o", out, "--label", "dose", "--group", "well", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert f"Load it as chadavit:{out}" in done.output
    assert "waited for images" in done.output
    done = typed("info", f"chadavit:{out}")
    assert done.exit_code == 0, done.output
    assert "centre crop 48" in done.output
    table = tmp_path / "predicted.csv"
    done = typed("predict", out, plate, "-o", table, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert set(pd.read_csv(table)["predicted_dose"]) <= {"A", "B"}


def test_settings_are_shown_and_can_be_given_back(tmp_path):
    shown = typed("train", "phantom", "--show-settings")
    assert shown.exit_code == 0
    file = tmp_path / "settings.toml"
    file.write_text(shown.output)
    again = typed("train", "phantom", "--show-settings", "--settings", file)
    assert again.output == shown.output
    assert "depth = 1" in shown.output
    assert 'momentum = "none"' in shown.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--set", "stepz=3"), "no setting 'stepz'. Did you mean 'steps'"),
        (("--set", "steps"), "is not NAME=VALUE"),
        (("--preset", "large"), "there is no preset 'large'"),
        (("--label", "dose"), "name the column of the independent unit"),
        (("--label", "dozes", "--group", "well"), "Did you mean 'dose'"),
        (("--from", "chadavit:nowhere"), "there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(plate, tmp_path, words, sentence):
    done = typed("train", plate, "-o", tmp_path / "run", *words)
    assert done.exit_code != 0
    assert sentence in done.output
    assert "bug" not in done.output


def test_a_run_without_a_folder_is_refused():
    done = typed("train", "phantom")
    assert done.exit_code == 2
    assert "--out" in done.output


def test_images_left_out_are_named(plate, tmp_path):
    tifffile.imwrite(plate.parent / "field 3.tif", np.zeros((1, 48, 48), np.uint16))
    done = typed("train", plate, "-o", tmp_path / "run", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "left out field 3.tif: " in done.output
    assert "constant" in done.output
