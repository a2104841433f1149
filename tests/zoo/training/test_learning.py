"""The tiny preset learns: on synthetic plates, and on blood cells."""

import pytest

import zoo


@pytest.mark.long
def test_the_tiny_preset_beats_its_twin_on_synthetic_plates(tmp_path):
    """Without labels, in about two minutes; pixel statistics may well know more."""
    found = zoo.train("phantom", tmp_path / "run", device="cpu")
    last = found.log[-1]
    assert last["loss_of_uniform"] < 0.95
    assert last["entropy_of_mean"] > 0.3
    assert found.waited < 0.1
    result = zoo.evaluate(found.encoder, "phantom", controls=[found.twin], control_seeds=3)
    verdicts = {row.metric: row.verdict for row in result.rows}
    for metric in ("Spearman ρ", "R²"):
        assert verdicts[metric].low > 0, verdicts[metric].detail
    assert any("was trained on phantom" in warning for warning in result.warnings)


@pytest.mark.long
def test_the_tiny_preset_learns_blood_cells(tmp_path, real_data):
    """Four kinds of white cells, in colour: the linear probe gains a tenth over the twin's."""
    data = zoo.open_images(real_data / "wbc")
    # Cells are cut out one by one, in several sizes.
    found = zoo.train(data, tmp_path / "run", device="cpu", resize=96, window=None)
    result = zoo.evaluate(
        found.encoder,
        data,
        label="cell",
        group="smear",
        controls=[found.twin],
        control_seeds=3,
    )
    probe = next(row for row in result.rows if "linear probe" in row.metric)
    assert probe.verdict.gap >= 0.1, probe.verdict.detail
