"""zoo sources, and the options that it shares with zoo embed."""

import numpy as np
import pandas as pd
import plates
import pytest
from click.testing import CliRunner

from zoo._cli import main


def run(*arguments, code=0):
    runner = CliRunner(env={"COLUMNS": "120"})
    result = runner.invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_a_plate_is_described_before_anything_is_computed(tmp_path):
    text = run("sources", plates.imagexpress(tmp_path), "--rows", "2")
    for words in (
        "ImageXpress (MetaXpress), 4 images",
        "channels: 2, Alexa 488, HOECHST 33342",
        "size: 24 × 32 pixels, uint16",
        "pixel size: 0.65 µm",
        "left out: 8 thumbnails (TimePoint_1/",
        "Metadata_Plate",
        "and 2 more rows, 0 more columns",
    ):
        assert words in text
    assert "B12" not in text


def test_what_is_unknown_is_said(tmp_path):
    text = run("sources", plates.cellomics(tmp_path))
    assert "channels: 2, 1, 2; name them with --stain 1=DNA" in text
    assert "pixel size: unknown; give it with --pixel-size" in text


def test_options_rename_choose_and_measure(tmp_path):
    plates.harmony(tmp_path)
    names = [f"{old}={new}" for old, new in zip(plates.DYES, plates.STAINS, strict=True)]
    options = ["--stain", names[0], "--stain", names[1], "--channels", "DNA,GFP"]
    text = run("sources", tmp_path, *options, "--pixel-size", "0.3")
    assert "channels: 2, DNA, GFP" in text
    assert "pixel size: 0.3 µm" in text


def test_a_first_image_that_cannot_be_read_is_said_after_the_table(tmp_path):
    plates.cellomics(tmp_path)
    for path in tmp_path.glob("*A01f01d1.tif"):
        path.write_bytes(b"")
    text = run("sources", tmp_path, code=1)
    assert "Metadata_Well" in text
    assert "the first image cannot be read: " in text
    assert "is it truncated?" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--z", "all"], "z is 'all', but must be max, mean, middle"),
        (["--axes", "CZ"], "must name each stored axis once"),
        (["--path", "D:"], "'D:' is not OLD=NEW, such as 'D:\\plates=/data/plates'"),
        (["--stain", "=DNA"], "'=DNA' is not OLD=NEW"),
        (["--pattern", "{weel}.tif"], "the fields are {plate}, {well}"),
        (["--channels", "ER"], "but the channel 'ER' was chosen"),
        (["--pixel-size", "0"], "0.0 is not in the range x>0"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, options, message):
    plates.harmony(tmp_path)
    result = CliRunner().invoke(main, ["sources", str(tmp_path), *options])
    assert result.exit_code in (1, 2)
    assert message in result.output


def test_embed_takes_the_same_options(tmp_path):
    plates.own_names(tmp_path / "plate", depth=3)
    out = tmp_path / "profiles.parquet"
    pattern = ["--pattern", plates.OWN_PATTERN, "--channels", "DNA,GFP", "--z", "max"]
    embed = ["embed", tmp_path / "plate", "-e", "pixel-statistics-mean", "-o", out, "--no-cache"]
    assert "4 images" in run(*embed, *pattern)
    found = pd.read_parquet(out)
    assert found["Metadata_Plate"].tolist() == [plates.PLATE] * 4
    assert found["Metadata_Well"].tolist() == ["A01", "A01", "B12", "B12"]
    assert found["Metadata_Site"].tolist() == ["1", "2", "1", "2"]
    assert found["Metadata_stains"].unique().tolist() == ["DNA|GFP"]
    features = found[[c for c in found if c.startswith("embedding_")]]
    assert np.isfinite(features.to_numpy()).all()
