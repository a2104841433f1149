"""Options of reading images, of every command that takes images of one's own."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner

from zoo._cli import main

PATTERN = "{plate}_{well}_c{channel}.tif"
SETTINGS = "depth=1 embed_dim=32 hidden_dim=64 patch_size=8 size=32 small_size=16 window=64"
SETTINGS += " images=6 prototypes=16 head_hidden=16 head_bottleneck=8 steps=1"


def run(*words, code=0):
    done = CliRunner(env={"COLUMNS": "120"}).invoke(main, [str(w) for w in words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def export(tmp_path):
    """An export that no format knows: one file for each channel, bright in every second well."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "export"
    folder.mkdir()
    for plate in "PQR":
        for k in range(4):
            for channel in (1, 2):
                pixels = rng.poisson(20 + 60 * (k % 2) * channel, (48, 48)).astype(np.uint8)
                tifffile.imwrite(folder / f"{plate}_B{k + 1:02d}_c{channel}.tif", pixels)
    return folder


ASKED = ("--pattern", PATTERN, "--stain", "1=DNA", "--stain", "2=ER")


def test_an_export_is_evaluated_and_compared(export, tmp_path):
    asked = [*("-d", export), *ASKED, "--label", "Metadata_Well", "--group", "Metadata_Plate"]
    asked += ["-c", "constant", "--no-cache"]
    said = run("evaluate", "pixel-statistics", *asked, "-o", tmp_path / "report")
    assert "export" in said
    scores = pd.read_csv(next((tmp_path / "report").glob("*.csv")))
    assert len(scores)
    said = run("compare", "pixel-statistics", "pixel-statistics-mean", *asked)
    assert "ahead of" in " ".join(said.split())
    # Without the pattern each file would be an image: refused.
    run("evaluate", "pixel-statistics", "-d", export, "--label", "Metadata_Well", code=1)


def test_an_export_trains_a_network_that_predicts(export, tmp_path):
    settings = [w for s in SETTINGS.split() for w in ("--set", s)]
    out = tmp_path / "run"
    columns = ["--label", "Metadata_Well", "--group", "Metadata_Plate", "--device", "cpu"]
    said = run("train", export, "-o", out, *ASKED, "--channels", "ER", *columns, *settings)
    assert "Channels are told by their stains: ER" in " ".join(said.split())
    table = tmp_path / "predicted.csv"
    run("predict", out, export, "-o", table, *ASKED, "--channels", "ER", "--device", "cpu")
    found = pd.read_csv(table)
    assert len(found) == 12
    assert set(found["predicted_Metadata_Well"]) <= {f"B0{k}" for k in range(1, 5)}


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "constant", "-d", "phantom", "--z", "max"),
        ("train", "phantom", "-o", "x", "--pattern", PATTERN),
    ],
)
def test_named_datasets_have_no_such_options(words):
    said = " ".join(run(*words, code=2).split())
    assert "are for images of your own, but phantom is a dataset by its name" in said
