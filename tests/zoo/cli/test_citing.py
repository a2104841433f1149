"""What to cite, as BibTeX that reads back, and the terms."""

import re

import pytest
from click.testing import CliRunner
from zoo.registry import registry

from zoo._citations import cite
from zoo._cli import main

ENTRY = re.compile(r"^@misc\{([\w]+),\n((?:  \w+ = \{.*\},?\n)+)\}$", re.MULTILINE)


def keys(text):
    assert text.count("@") - text.count("\\@") >= 0
    found = [m[1] for m in ENTRY.finditer(text)]
    assert len(found) == text.count("@misc{")
    assert len(set(found)) == len(found)
    return found


def test_encoders_and_datasets_are_cited_with_their_terms():
    done = CliRunner().invoke(main, ["cite", "chadavit-idrcell100k", "bbbc021"])
    assert done.exit_code == 0
    assert "% chadavit-idrcell100k: licence weights: not stated on the hub" in done.output
    assert "% bbbc021: licence see" in done.output
    assert "eprint = {2311.15264}" in done.output
    assert keys(done.output)[0] == "bourriez2024"


def test_a_work_is_given_once_and_a_record_without_says_so():
    text = cite(["chadavit-idrcell100k", "chadavit-untrained", "constant"])
    assert len(keys(text)) == 1
    assert "% chadavit-untrained: licence none needed\n% see bourriez2024" in text
    assert "% constant: licence none needed\n% the record names no work to cite" in text


def test_every_built_in_gives_entries_with_different_keys():
    found = registry()
    assert len(keys(cite([*found.encoders, *found.datasets]))) > 10
    assert cite(["timm:resnet18.a1_in1k/mean@" + "0" * 40]).count("@misc") == 1


@pytest.mark.parametrize("name", ["chadavit-idrcell100", "bbbc0211"])
def test_unknown_names_get_near_ones(name):
    done = CliRunner().invoke(main, ["cite", name])
    assert done.exit_code == 1
    assert name in done.output
