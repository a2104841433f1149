"""What is kept on this machine: listed, hashed again, and removed only when that is said."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from loopback_hub import LoopbackHub
from zoo.registry import Weights, fetch

import zoo
from zoo._cli import main

REPO, FILE = "org/repo", "model.safetensors"
CONTENT = np.random.default_rng(0).bytes(5000)


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "zoo"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path


@pytest.fixture
def fetched(places):
    """Weights of one commit under two names, and a file that another program has fetched."""
    with LoopbackHub({REPO: {FILE: CONTENT, f"sub/{FILE}": CONTENT}}) as hub:
        found = [
            fetch(Weights(repo=REPO, revision=hub.commit, filename=name), endpoint=hub.endpoint)
            for name in (FILE, f"sub/{FILE}")
        ]
    strange = places / "hub" / "models--their--repo" / "snapshots" / ("c" * 40) / FILE
    strange.parent.mkdir(parents=True)
    strange.write_bytes(b"not ours")
    half = strange.parents[2] / "blobs" / "aa.incomplete"
    half.parent.mkdir()
    half.write_bytes(b"not ours")
    return [f.path for f in found]


@pytest.fixture
def embedded(places):
    zoo.embed([np.zeros((c, 64, 64), np.uint8) for c in (1, 2)], "constant")
    (folder,) = places.rglob("embeddings")
    return sorted(folder.iterdir())


def run(*arguments):
    return CliRunner().invoke(main, ["cache", *arguments])


def test_nothing_is_kept(places):
    assert "nothing is kept\n" in run("list").output
    assert str(places / "hub") in run("list").output
    assert "nothing is kept for chada*" in run("list", "chada*").output
    assert "0 of 0 files" in run("verify").output
    assert "nothing to remove" in run("prune", "--all").output


def test_weights_and_embeddings_are_listed(fetched, embedded, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    said = run("list").output
    lines = said.splitlines()
    assert sum("weights" in x and REPO in x and "5 kB" in x for x in lines) == 2
    assert sum("embeddings" in x and "constant" in x and "1 image," in x for x in lines) == 2
    assert "their" not in said
    assert "constant" not in run("list", "org/*").output
    assert REPO not in run("list", "const*").output


def test_verify_names_what_is_damaged(fetched, embedded):
    done = run("verify")
    assert (done.exit_code, done.output) == (0, "4 of 4 files are as they were saved\n")
    blob = fetched[0].resolve()
    blob.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    embedded[0].write_bytes(embedded[0].read_bytes()[:-40])
    done = run("verify")
    assert done.exit_code == 1
    assert "is not org/repo@" in done.output
    assert "zoo pull --force" in done.output
    assert f"{embedded[0]} is broken" in done.output
    assert "1 of 4 files are as they were saved" in done.output  # both names have the one content
    blob.unlink()
    assert "is gone: fetch it again" in run("verify", REPO).output


def test_a_saved_hash_must_agree_too(fetched, places):
    (note, _) = sorted((places / "hub").rglob("*.sha256"), key=lambda p: len(p.parts))
    note.write_text("0" * 64)
    done = run("verify", REPO)
    assert done.exit_code == 1
    assert f"differs from the hash that was saved: expected {'0' * 64}" in done.output


def test_prune_shows_first_and_removes_what_was_named(fetched, embedded, places):
    first, second = fetched
    assert run("prune").exit_code == 1
    assert "say what to remove" in run("prune").output
    done = run("prune", REPO)
    assert "10 kB would be removed: --yes removes them" in done.output
    assert first.is_file()
    assert second.is_file()
    done = run("prune", REPO, "--yes")
    assert "10 kB are removed" in done.output
    assert not first.is_symlink()
    assert not [p for p in (places / "hub" / "models--org--repo").rglob("*") if p.is_file()]
    assert (places / "hub" / "models--their--repo" / "blobs" / "aa.incomplete").exists()
    assert all(p.exists() for p in embedded)
    assert run("prune", "--kind", "embeddings", "--yes").exit_code == 0
    assert not any(p.exists() for p in embedded)


def test_content_that_another_name_shares_stays(fetched, places):
    from zoo.registry.kept_weights import kept_weights

    one, other = kept_weights()
    assert len(one.files) == 2  # the link and the hash
    for path in one.files:
        path.unlink()
    assert other.path.read_bytes() == CONTENT
    (last,) = kept_weights()
    assert len(last.files) == 3


def test_halves_are_listed_and_removed(fetched, places):
    half = places / "hub" / "models--org--repo" / "blobs" / "bb.incomplete"
    half.write_bytes(b"123")
    rows = places / "zoo" / "embeddings" / "x.7.partial"
    rows.parent.mkdir(parents=True)
    rows.write_bytes(b"1234")
    done = run("prune", "--kind", "unfinished", "--yes")
    assert "7 B are removed" in done.output
    assert not half.exists()
    assert not rows.exists()
    assert fetched[0].is_file()


def test_a_read_only_cache_is_pruned_by_its_owner(fetched, monkeypatch):
    def refuse(path, **_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    done = run("prune", "--all", "--yes")
    assert done.exit_code == 1
    assert "cannot be removed (Read-only file system)" in done.output
    assert fetched[0].is_file()


def test_a_listing_reads_no_weights(fetched, monkeypatch):
    from zoo.registry import hub

    monkeypatch.setattr(hub, "_sha256", None)
    assert run("list").exit_code == 0
