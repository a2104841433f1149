"""Attention between channels, from the encoder to the figure."""

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from click.testing import CliRunner

import zoo
from zoo._cli import main


@pytest.fixture(scope="module")
def encoder():
    return zoo.load("chadavit-untrained", device="cpu")


def images():
    draw = torch.Generator().manual_seed(0)
    return [torch.rand(c, 48, 32, generator=draw) for c in (2, 1, 3)]


def whole_matrices(encoder, image):
    """Every layer's (heads, n, n) attention, by PyTorch's own layer with weights asked for."""
    model = encoder.model
    layout = model.layout(image, torch.tensor([len(image)]), torch.arange(len(image)))
    x = model.tokens(image, layout)
    found = []
    for block in model.blocks:
        own = block.self_attn
        layer = torch.nn.MultiheadAttention(x.shape[1], own.heads, batch_first=True)
        layer.load_state_dict(own.state_dict(), strict=True)
        a = block.norm1(x)[None]
        attended, weights = layer(a, a, a, need_weights=True, average_attn_weights=False)
        found.append(weights[0])
        x = block.norm1(x + attended[0])
        x = block.norm2(x + block.linear2(torch.relu(block.linear1(x))))
    return torch.stack(found)  # (L, H, n, n)


def test_equals_the_whole_matrix_of_pytorchs_own_layer(encoder):
    for image, found in zip(images(), encoder.attention(images(), preprocess=False), strict=True):
        with torch.inference_mode():
            whole = whole_matrices(encoder, image)
        c, p = len(image), 6
        edges = [0, *(1 + i * p for i in range(c + 1))]
        for i in range(c + 1):
            for j in range(c + 1):
                block = whole[:, :, edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
                wanted = block.sum(-1).mean(-1)
                # float32 through twelve layers
                torch.testing.assert_close(found.channels[:, :, i, j], wanted, rtol=0, atol=1e-5)
        wanted = whole[:, :, 0, 1:].unflatten(-1, (c, 3, 2))
        torch.testing.assert_close(found.cls, wanted, rtol=0, atol=1e-5)


def test_batches_and_order_change_nothing(encoder):
    together = encoder.attention(images(), preprocess=False)
    alone = [encoder.attention([i], preprocess=False)[0] for i in images()]
    small = encoder.attention(images(), preprocess=False, batch_planes=1)
    for a, b, c in zip(together, alone, small, strict=True):
        torch.testing.assert_close(a.channels, b.channels, rtol=0, atol=1e-5)
        torch.testing.assert_close(a.cls, c.cls, rtol=0, atol=1e-5)


def test_encoders_without_it_say_so():
    with pytest.raises(ValueError, match=r"pixel-statistics does not have the output .attention"):
        zoo.load("pixel-statistics").attention(images())


@pytest.fixture
def image(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(
        path,
        rng.integers(0, 4000, (2, 64, 48), dtype=np.uint16),
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": ["DNA", "GFP"]}},
    )
    return path


def draw(*arguments, code=0):
    given = ["attention", *map(str, arguments), "-e", "chadavit-untrained"]
    result = CliRunner().invoke(main, given, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure_is_drawn(image, tmp_path, suffix):
    out = tmp_path / "new" / f"a.{suffix}"
    assert str(out) in draw(image, "-o", out)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert out.read_bytes().startswith(start)
    if suffix == "svg":
        text = out.read_text()
        for words in ("DNA", "GFP", "CLS", "all 12 layers", "all 12 heads", "cells.ome.tif"):
            assert words in text


def test_a_table_lists_every_layer_and_head(image, tmp_path):
    out = tmp_path / "a.csv"
    draw(image, "-o", out)
    table = pd.read_csv(out)
    assert len(table) == 12 * 12 * 9
    assert set(table["query"]) == {"CLS", "DNA", "GFP"}
    sums = table.groupby(["layer", "head", "query"])["attention"].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    one = zoo.load("chadavit-untrained").attention([zoo.read_image(image).pixels])[0]
    row = table.query("layer == 12 and head == 3 and query == 'GFP' and key == 'DNA'")
    assert row["attention"].item() == pytest.approx(float(one.channels[11, 2, 2, 1]), abs=1e-6)


def test_one_layer_and_one_head_can_be_chosen(image, tmp_path):
    out = tmp_path / "a.csv"
    draw(image, "-o", out, "--layer", -1, "--head", 2)
    table = pd.read_csv(out)
    assert set(table["layer"]) == {12}
    assert set(table["head"]) == {2}
    figure = tmp_path / "a.svg"
    draw(image, "-o", figure, "--layer", 3)
    assert "layer 3, all 12 heads" in figure.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "a.txt"], "must end in .png"),
        (["-o", "a.csv", "--layer", "13"], "has the layers 1 to 12"),
        (["-o", "a.csv", "--head", "0"], "has the heads 1 to 12"),
    ],
)
def test_wrong_requests_are_refused(image, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in draw(image, *arguments, code=1)
    assert not (tmp_path / arguments[1]).exists()
