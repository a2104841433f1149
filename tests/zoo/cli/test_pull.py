"""`zoo pull` with several names and patterns, against a hub on the loopback address."""

import pytest
from click.testing import CliRunner
from loopback_hub import in_place_of_the_hub

from zoo._cli import main

VIRCHOWS = {"paige-ai/Virchow": {}, "paige-ai/Virchow2": {"model.safetensors": b"weights" * 300}}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with in_place_of_the_hub(monkeypatch, tmp_path / "cache", VIRCHOWS) as hub:
        yield hub


def pull(*arguments):
    return CliRunner().invoke(main, ["pull", *arguments])


def test_a_pattern_takes_all_that_fit_and_says_what_is_not_there(hub):
    done = pull("virchow*")
    lines = done.stdout.splitlines()
    assert done.exit_code == 1
    assert lines[0].startswith("virchow (1 of 2): licence: Apache-2.0")
    assert lines[1].startswith(
        "virchow2 (2 of 2): licence: CC BY-NC-ND 4.0, research only; gated: "
    )
    assert lines[1].endswith(f"ask for access at {hub.endpoint}/paige-ai/Virchow2; 2.5 GB")
    assert "virchow2: " in lines[2]
    assert "(2.1 kB, sha256 verified by: hub)" in lines[2]
    assert lines[3] == "1 of 2 are here, 2.1 kB"
    assert "virchow: paige-ai/Virchow@" in done.stderr
    assert "has no such file in it" in done.stderr
    assert "not fetched, as said above: virchow" in done.stderr


def test_names_and_patterns_are_taken_once_each(hub):
    hub.repos["paige-ai/Virchow"]["model.safetensors"] = b"other"
    done = pull("virchow2", "virchow*", "pixel-statistics")
    assert done.exit_code == 0, done.output
    assert "2 of 3" in done.stdout
    assert "pixel-statistics needs no weights" in done.stdout
    assert len(hub.downloads) == 2


def test_terms_come_before_the_first_request(hub):
    hub.fault = "gated"
    done = pull("virchow2")
    assert done.exit_code == 1
    assert done.stdout.startswith("virchow2: licence: CC BY-NC-ND 4.0")
    assert f"it is gated; accept the terms at {hub.endpoint}/paige-ai/Virchow2" in done.stderr
    assert not hub.downloads


def test_a_pattern_that_fits_nothing(hub):
    done = pull("unis-*")
    assert done.exit_code == 1
    assert "no listed encoder with weights fits 'unis-*'" in done.stderr
    assert hub.requests == []


def test_info_and_card_say_where_access_is_asked_for(hub):
    told = CliRunner().invoke(main, ["info", "virchow2"], env={"COLUMNS": "200"}).stdout
    assert f"gated: ask at {hub.endpoint}/paige-ai/Virchow2" in told
    assert "0.25, 0.5, 1, 2 µm, in training" in told
    by_hand = CliRunner().invoke(main, ["info", "uni"], env={"COLUMNS": "300"}).stdout
    assert "hf download MahmoodLab/UNI pytorch_model.bin" in by_hand
    listed = CliRunner().invoke(main, ["list", "uni2"], env={"COLUMNS": "200"}).stdout
    assert "by hand" in listed
