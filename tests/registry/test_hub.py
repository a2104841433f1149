"""Fetching, against the real client and a hub on the loopback address, faults included.

Reference hashes are taken from the bytes that the tests themselves made. No time is measured: what
would wait for ever runs into the time limit of a test.
"""

import errno
import hashlib
import json
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.errors import HFValidationError
from loopback_hub import LoopbackHub
from safetensors.numpy import save
from zoo.registry import (
    AccessDeniedError,
    ArchitectureMismatchError,
    Fetched,
    IntegrityError,
    Weights,
    WeightsError,
    WeightsNotFoundError,
    check_header,
    fetch,
    hub_client,
    is_cached,
    is_reachable,
    resolve_revision,
)

REPO = "org/repo"
FILE = "model.safetensors"
CONTENT = save({"weight": np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)})
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"something else").hexdigest()
SHAPES = {"weight": (64, 512)}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def server():
    with LoopbackHub({REPO: {FILE: CONTENT, "config.json": b"{}"}}) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch):
    """Let the client resume a broken body without its pause of one second before each try."""
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def weights(server, filename=FILE, repo=REPO, **fields):
    return Weights(**{"repo": repo, "revision": server.commit, "filename": filename} | fields)


def get(server, cache, wanted=None, **options):
    return fetch(wanted or weights(server), endpoint=server.endpoint, cache_dir=cache, **options)


def note_of(server, cache, filename=FILE):
    return cache / "models--org--repo" / ".zoo" / server.commit / f"{filename}.sha256"


def traces(cache):
    """Snapshots and blobs: what a failed download must not leave behind.

    Older clients keep halves of blobs to resume them, which does no harm.
    """
    found = [*cache.glob("models--*/snapshots/*/*"), *cache.glob("models--*/blobs/*")]
    return [path for path in found if not path.is_dir() and path.suffix != ".incomplete"]


def rewrite(path, content):
    """Damage the blob behind a link, as a bad disk would."""
    path.resolve().write_bytes(content)


def flip(content):
    return content[:-1] + bytes([content[-1] ^ 1])


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


# What goes well


def test_download_gives_the_content_and_its_hash(server, cache):
    wanted = weights(server)
    assert not is_cached(wanted, cache_dir=cache)
    fetched = get(server, cache, wanted)
    assert fetched == Fetched(
        fetched.path, SHA256, f"{REPO}@{server.commit}/{FILE}", verified="hub"
    )
    assert fetched.path.read_bytes() == CONTENT
    assert is_cached(wanted, cache_dir=cache)


def test_known_hash_is_what_counts(server, cache):
    server.etags = "opaque"
    assert get(server, cache, weights(server, sha256=SHA256)).verified == "record"
    assert get(server, cache, weights(server, sha256=SHA256)).verified == "record"


def test_second_fetch_makes_no_request(server, cache):
    first = get(server, cache)
    del server.requests[:]
    assert get(server, cache) == first
    assert server.requests == []


def test_offline_uses_the_cache(server, cache, monkeypatch):
    first = get(server, cache)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get(server, cache) == first


def test_cached_file_needs_no_download(server, cache, closed_port):
    get(server, cache)
    assert fetch(weights(server), endpoint=closed_port, cache_dir=cache, download=False)


def test_force_downloads_anew(server, cache):
    get(server, cache)
    get(server, cache, force=True)
    assert len(server.downloads) == 2


def test_variables_count_at_each_call(server, cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint + "/")
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    assert cache in fetch(weights(server)).path.parents
    assert is_cached(weights(server))
    assert is_reachable()


def test_local_file(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(CONTENT)
    assert fetch(Weights(path=path)) == Fetched(path, SHA256, str(path), "local")
    assert fetch(Weights(path=path, sha256=SHA256)).verified == "record"
    assert is_cached(Weights(path=path))


def test_file_in_a_subfolder(server, cache):
    server.repos[REPO]["sub/dir/model.safetensors"] = CONTENT
    wanted = weights(server, "sub/dir/model.safetensors")
    server.etags = "opaque"
    assert get(server, cache, wanted).sha256 == SHA256
    assert note_of(server, cache, "sub/dir/model.safetensors").read_text() == SHA256


# What is not here


def test_local_file_missing(tmp_path):
    missing = Weights(path=tmp_path / "w.safetensors")
    with pytest.raises(WeightsNotFoundError, match="no weight file"):
        fetch(missing)
    assert not is_cached(missing)


def test_offline_without_cache(server, cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsNotFoundError, match=r"HF_HUB_OFFLINE.*zoo pull.*weights=PATH"):
        get(server, cache)
    with pytest.raises(WeightsNotFoundError, match="HF_HUB_OFFLINE"):
        get(server, cache, force=True)
    assert not is_reachable(endpoint=server.endpoint)
    assert server.requests == []


def test_no_download_means_no_request(server, cache):
    with pytest.raises(WeightsNotFoundError, match=r"not in the cache.*zoo pull.*weights=PATH"):
        get(server, cache, download=False)
    with pytest.raises(ValueError, match="force=True"):
        get(server, cache, download=False, force=True)
    assert server.requests == []


def test_closed_port_fails_fast(server, cache, closed_port, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(hub_client, "time", clock)
    with pytest.raises(WeightsNotFoundError, match=r"cannot be reached.*zoo pull.*weights=PATH"):
        fetch(weights(server), endpoint=closed_port, cache_dir=cache)
    assert clock.now == 0  # tried once


def test_silent_hub_fails_fast(server, cache, monkeypatch):
    monkeypatch.setattr(hub_client, "is_reachable", partial(is_reachable, timeout=0.5))
    server.fault = "silent"
    with pytest.raises(WeightsNotFoundError, match="cannot be reached"):
        get(server, cache)
    assert len(server.requests) <= 1  # not asked again


def test_slow_name_service_is_bounded(server, monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait())
    assert not is_reachable(endpoint="http://hub.invalid", timeout=0.5)  # though none has answered
    answered.set()


def test_any_answer_is_reachable(server, closed_port):
    assert is_reachable(endpoint=server.endpoint)
    assert is_reachable(endpoint=server.endpoint + "/no/such/page")
    assert not is_reachable(endpoint=closed_port)
    assert not is_reachable(endpoint="no address at all")


def test_reachable_through_a_proxy(server):
    # A process of its own, because the client reads the proxy variables once.
    code = "from zoo.registry import is_reachable; print(is_reachable())"
    proxied = os.environ | {
        "HF_ENDPOINT": "http://hub.invalid",
        "http_proxy": server.endpoint,
        "no_proxy": "",
    }
    assert run(code, env=proxied).stdout.strip() == "True"
    assert server.requests == ["HEAD http://hub.invalid"] or server.requests == [
        "HEAD http://hub.invalid/"
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"repo": "org/none"}, "no such repository"),
        ({"revision": "e" * 40}, "no such revision"),
        ({"filename": "pytorch_model.safetensors"}, "no such file"),
    ],
)
def test_missing_on_the_hub(server, cache, fields, sentence):
    with pytest.raises(WeightsNotFoundError, match=sentence):
        get(server, cache, weights(server, **fields))
    assert sum("resolve" in line for line in server.requests) == 1  # asking again is of no use
    assert not traces(cache)


def test_no_other_name_is_tried(server, cache):
    server.repos[REPO] = {"pytorch_model.bin": pickle.dumps({})}
    with pytest.raises(WeightsNotFoundError):
        get(server, cache)
    assert not [line for line in server.requests if "pytorch_model" in line]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("401", r"refuses it \(HTTP 401\).*hf auth login"),
        ("403", r"refuses it \(HTTP 403\).*hf auth login"),
        ("gated", "is gated; accept the terms at http://127.0.0.1:[0-9]+/org/repo and"),
    ],
)
def test_access_denied(server, cache, fault, sentence):
    server.fault = fault
    with pytest.raises(AccessDeniedError, match=sentence):
        get(server, cache)
    with pytest.raises(AccessDeniedError):
        resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache)


def test_malformed_names_are_bad_arguments(server, cache):
    with pytest.raises(HFValidationError):
        get(server, cache, weights(server, repo="a/b/c"))
    with pytest.raises(HFValidationError):
        resolve_revision("a/b/c", endpoint=server.endpoint, cache_dir=cache)
    for revision in ("main", "0123abc", "0123456789ABCDEF0123456789ABCDEF01234567"):
        with pytest.raises(ValueError, match="full 40-hex commit"):
            weights(server, revision=revision)


# What breaks on the way


def test_server_error_passes(server, cache):
    server.fault = "500-once"
    assert get(server, cache).sha256 == SHA256


def test_server_error_stays(server, cache, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(hub_client, "time", clock)
    monkeypatch.setattr("time.sleep", clock.sleep)  # of older clients, which ask again themselves
    server.fault = "500"
    with pytest.raises(WeightsNotFoundError, match=r"HTTP 500.*try again"):
        get(server, cache)
    assert 5 < clock.now < 30  # such clients give up after 23 s
    assert sum("resolve" in line for line in server.requests) > 2


def test_server_error_in_the_body(server, cache, monkeypatch):
    monkeypatch.setattr(hub_client, "PATIENCE", 0.5)
    server.fault = "500-body"
    with pytest.raises(WeightsNotFoundError, match="HTTP 500"):
        get(server, cache)
    assert not traces(cache)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("429", "HTTP 429"),
        ("dropped", "failed"),
        ("truncated", "failed"),
        ("shortened", "failed.*Consistency check"),
    ],
)
def test_broken_transfer(server, cache, impatient, fault, sentence):
    server.fault = fault
    with pytest.raises(WeightsNotFoundError, match=f"{sentence}.*try again later.*weights=PATH"):
        get(server, cache)
    assert not traces(cache)
    server.fault = None
    assert get(server, cache).sha256 == SHA256


@pytest.mark.skipif(
    int(huggingface_hub.__version__.split(".")[0]) < 2, reason="older clients give up, and say so"
)
def test_truncated_body_is_resumed(server, cache, impatient):
    server.fault = "truncated-once"
    assert get(server, cache).sha256 == SHA256
    assert len(server.downloads) == 2


def test_stalled_body_is_given_up(server, cache, impatient, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    server.fault = "stalled"
    with pytest.raises(WeightsNotFoundError, match="failed"):
        get(server, cache)
    assert not traces(cache)


def test_force_keeps_the_cause(server, cache):
    get(server, cache)
    server.fault = "dropped"
    with pytest.raises(WeightsNotFoundError, match="failed") as caught:
        get(server, cache, force=True)
    assert caught.value.__cause__ is not None
    server.fault = None
    assert get(server, cache).sha256 == SHA256


@pytest.mark.parametrize("force", [False, True])
def test_refused_between_question_and_download(server, cache, force):
    server.fault = "403-later"
    with pytest.raises(AccessDeniedError, match="HTTP 403"):
        get(server, cache, force=force)


@pytest.mark.parametrize("fault", ["other-commit", "other-service"])
def test_not_the_commit_that_was_asked_for(server, cache, fault):
    server.fault = fault
    with pytest.raises(IntegrityError, match=r"offers commit (f{40}|None)"):
        get(server, cache)
    assert not server.downloads


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "disk is full.*make room"), (errno.EROFS, "cannot be written.*HF_HUB_CACHE")],
)
def test_cache_that_takes_no_file(server, cache, monkeypatch, number, sentence):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), str(cache))

    monkeypatch.setattr(file_download, "http_get", refuse)
    with pytest.raises(WeightsNotFoundError, match=sentence):
        get(server, cache)
    assert not traces(cache)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_cache(server, cache):
    cache.mkdir(mode=0o500)
    with pytest.raises(WeightsNotFoundError, match=r"cannot be written.*HF_HUB_CACHE"):
        get(server, cache)


def test_read_only_cache_can_be_read(server, cache, monkeypatch):
    server.etags = "opaque"
    get(server, cache)
    note_of(server, cache).unlink()

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_text", refuse)
    assert get(server, cache).sha256 == SHA256
    assert not note_of(server, cache).exists()


# What is not what it should be


@pytest.mark.parametrize("known", [SHA256, None])
def test_corrupt_download_is_removed(server, cache, known):
    wanted = weights(server, sha256=known)
    server.fault = "corrupt"
    with pytest.raises(IntegrityError, match=rf"expected {SHA256}, found .*zoo pull --force"):
        get(server, cache, wanted)
    assert not traces(cache)
    assert not is_cached(wanted, cache_dir=cache)
    server.fault = None
    assert get(server, cache, wanted).sha256 == SHA256


@pytest.mark.parametrize("known", [SHA256, None])
@pytest.mark.parametrize("damage", [flip(CONTENT), CONTENT[:-4], b""])
def test_corrupt_cache_is_found_and_mended(server, cache, known, damage):
    wanted = weights(server, sha256=known)
    rewrite(get(server, cache, wanted).path, damage)
    found = hashlib.sha256(damage).hexdigest()
    with pytest.raises(IntegrityError, match=rf"expected {SHA256}, found {found}.*pull --force"):
        get(server, cache, wanted)
    assert get(server, cache, wanted, force=True).path.read_bytes() == CONTENT


def test_record_with_another_hash(server, cache):
    wanted = weights(server, sha256=OTHER)
    with pytest.raises(IntegrityError, match=rf"\(record\): expected {OTHER}, found {SHA256}"):
        get(server, cache, wanted)
    assert not traces(cache)


def test_local_file_with_another_hash(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(CONTENT)
    with pytest.raises(IntegrityError, match=rf"expected sha256 {OTHER}, found {SHA256}"):
        fetch(Weights(path=path, sha256=OTHER))
    assert path.exists()


def test_first_use_is_noted_and_enforced(server, cache):
    server.etags = "opaque"
    first = get(server, cache)
    assert first.verified == "first-use"
    assert note_of(server, cache).read_text() == SHA256
    assert get(server, cache) == first
    rewrite(first.path, flip(CONTENT))
    with pytest.raises(IntegrityError, match=rf"\(first-use\): expected {SHA256}"):
        get(server, cache)
    assert get(server, cache, force=True) == first


def test_first_use_outlives_the_file(server, cache):
    server.etags = "opaque"
    get(server, cache).path.resolve().unlink()
    server.repos[REPO][FILE] = flip(CONTENT)
    with pytest.raises(IntegrityError, match="is removed"):
        get(server, cache)
    assert not traces(cache)
    changed = get(server, cache, force=True)
    assert note_of(server, cache).read_text() == changed.sha256 != SHA256


def test_file_kept_in_git_is_first_use(server, cache):
    fetched = get(server, cache, weights(server, "config.json"))
    assert (fetched.verified, fetched.sha256) == ("first-use", hashlib.sha256(b"{}").hexdigest())


def test_blob_shared_among_repositories(server, cache):
    # The client may keep a blob in a store for all repositories, named by a hash that is no
    # sha256; the link in the repository still has the name that counts.
    blob = get(server, cache).path.resolve()
    store = cache / "blobs" / OTHER[:2] / OTHER
    store.parent.mkdir(parents=True)
    blob.rename(store)
    blob.symlink_to(store)
    assert get(server, cache).verified == "hub"
    store.write_bytes(flip(CONTENT))
    with pytest.raises(IntegrityError, match=rf"expected {SHA256}"):
        get(server, cache)


def test_cache_without_links(server, cache, monkeypatch):
    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda *_: False)
    server.fault = "corrupt"
    with pytest.raises(IntegrityError, match=rf"expected {SHA256}"):
        get(server, cache)
    assert not traces(cache)
    server.fault = None
    fetched = get(server, cache)
    assert not fetched.path.is_symlink()
    assert fetched.verified == "hub"
    fetched.path.write_bytes(flip(CONTENT))
    with pytest.raises(IntegrityError, match=rf"\(first-use\): expected {SHA256}"):
        get(server, cache)


# Several processes


FETCH = """
import sys
from pathlib import Path
from zoo.registry import Weights, fetch
weights = Weights(repo=sys.argv[1], revision=sys.argv[2])
print(fetch(weights, endpoint=sys.argv[3], cache_dir=Path(sys.argv[4])).sha256)
"""


def start(code, *arguments, env=None):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


def run(code, *arguments, env=None):
    process = start(code, *arguments, env=env)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return SimpleNamespace(stdout=out)


def test_two_processes_at_once(server, cache):
    arguments = (FETCH, REPO, server.commit, server.endpoint, cache)
    processes = [start(*arguments) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in outputs] == [SHA256, SHA256], outputs
    assert get(server, cache).path.read_bytes() == CONTENT
    assert len(traces(cache)) == 2  # one snapshot, one blob


def test_killed_in_the_middle(server, cache):
    server.fault = "stalled"
    process = start(FETCH, REPO, server.commit, server.endpoint, cache)
    assert server.stalled.wait(30)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert not is_cached(weights(server), cache_dir=cache)
    server.fault = None
    assert get(server, cache).path.read_bytes() == CONTENT


def test_import_is_light():
    code = (
        "import sys, zoo.registry\n"
        "print(sorted({'torch', 'huggingface_hub', 'safetensors', 'numpy'} & set(sys.modules)))"
    )
    assert run(code).stdout.strip() == "[]"


# Packages


def test_weights_in_a_package(tmp_path, monkeypatch):
    carried = Weights(distribution="some-weights", filename="some_weights/model.safetensors")
    assert str(carried) == "some-weights/some_weights/model.safetensors"
    assert not is_cached(carried)
    with pytest.raises(WeightsNotFoundError, match="pip install some-weights"):
        fetch(carried)
    folder = tmp_path / "some_weights-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_cached(carried)
    with pytest.raises(WeightsNotFoundError, match="there is no weight file"):
        fetch(carried)
    file = tmp_path / "some_weights" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    assert is_cached(carried)
    found = fetch(carried)
    assert (found.path, found.source, found.verified) == (file, str(carried), "local")
    with pytest.raises(IntegrityError, match="differs from its record"):
        fetch(replace(carried, sha256="0" * 64))
    assert fetch(replace(carried, sha256=found.sha256)).verified == "record"


# Revisions


def test_branch_becomes_a_commit_and_stays(server, cache):
    assert resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache) == server.commit
    del server.requests[:]
    first, server.commit = server.commit, "b" * 40
    assert resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache) == first
    assert server.requests == []
    renewed = resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache, refresh=True)
    assert renewed == server.commit
    assert resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache) == renewed


def test_the_latest_commit_is_looked_up_once(server, cache):
    latest = Weights(repo=REPO, latest=True, filename=FILE)
    where = {"endpoint": server.endpoint, "cache_dir": cache}
    assert not is_cached(latest, cache_dir=cache)
    found = fetch(latest, **where)
    assert found.source == f"{REPO}@{server.commit}/{FILE}"
    assert is_cached(latest, cache_dir=cache)
    del server.requests[:]
    assert fetch(latest, **where) == found
    assert server.requests == []


def test_branch_is_remembered_where_the_client_looks(server, cache):
    resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache)
    path = get(server, cache).path
    found = file_download.try_to_load_from_cache(REPO, FILE, cache_dir=cache, revision="main")
    assert found == str(path)


def test_commit_is_its_own_answer(server, cache):
    assert resolve_revision(REPO, "a" * 40, endpoint=server.endpoint, cache_dir=cache) == "a" * 40
    assert server.requests == []


def test_branch_without_hub(server, cache, closed_port, monkeypatch):
    with pytest.raises(WeightsNotFoundError, match="org/repo@main is not in the cache"):
        resolve_revision(REPO, endpoint=closed_port, cache_dir=cache)
    resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache)
    assert resolve_revision(REPO, endpoint=closed_port, cache_dir=cache) == server.commit
    with pytest.raises(WeightsNotFoundError, match="cannot be reached"):
        resolve_revision(REPO, endpoint=closed_port, cache_dir=cache, refresh=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "on")
    assert resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache) == server.commit


def test_revision_that_is_none(server, cache):
    for revision in ("", "/etc/passwd", "../../other/refs/main", "a\\b"):
        with pytest.raises(ValueError, match="not a git revision"):
            resolve_revision(REPO, revision, endpoint=server.endpoint, cache_dir=cache)
    with pytest.raises(WeightsNotFoundError, match="no such revision"):
        resolve_revision(REPO, "v9", endpoint=server.endpoint, cache_dir=cache)
    with pytest.raises(WeightsNotFoundError, match="no such repository"):
        resolve_revision("org/none", endpoint=server.endpoint, cache_dir=cache)
    for fault in ("no-sha", "other-service"):
        server.fault = fault
        with pytest.raises(WeightsNotFoundError, match="failed"):
            resolve_revision(REPO, endpoint=server.endpoint, cache_dir=cache)
    assert not list(cache.glob("**/refs/*"))


# Headers


def safetensors(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.fixture
def file(tmp_path):
    return tmp_path / FILE


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_header_that_fits(file, dtype):
    size = {"F64": 8, "F32": 4}.get(dtype, 2) * 6
    file.write_bytes(safetensors({"w": tensor(dtype, (2, 3), (0, size))}, bytes(size)))
    check_header(file, {"w": (2, 3)})
    check_header(file, {"w": [2, 3]})


def test_scalar_and_nothing(file):
    file.write_bytes(save({"step": np.ones((), np.float32)}))
    check_header(file, {"step": ()})
    file.write_bytes(save({}))
    check_header(file, {})


def test_every_disagreement_is_listed(file):
    file.write_bytes(save({"a": np.zeros((2, 3), np.float32), "b": np.zeros(3, np.int64)}))
    with pytest.raises(ArchitectureMismatchError) as caught:
        check_header(file, {"a": (3, 2), "c": (1,)})
    message = str(caught.value)
    assert "missing: c;" in message
    assert "unexpected: b;" in message
    assert "of the wrong shape: a (2, 3) instead of (3, 2);" in message
    assert "not floating point: b I64" in message


def test_long_lists_are_cut(file):
    file.write_bytes(save({}))
    with pytest.raises(ArchitectureMismatchError, match=r"w0, .*w7 and 3 more\)") as caught:
        check_header(file, {f"w{i:x}": (1,) for i in range(11)})
    assert "w8" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["I64", "U8", "BOOL", "F8_E4M3"])
def test_types_that_are_refused(file, dtype):
    size = 16 if dtype == "I64" else 2
    file.write_bytes(safetensors({"w": tensor(dtype, (2,), (0, size))}, bytes(size)))
    with pytest.raises(ArchitectureMismatchError, match=f"not floating point: w {dtype}"):
        check_header(file, {"w": (2,)})


def test_header_is_all_that_is_read(file):
    # 4 GiB of zeros that take no room on the disk and must take none in memory.
    size = 4 << 30
    file.write_bytes(safetensors({"w": tensor("F32", (size // 4,), (0, size))}))
    os.truncate(file, file.stat().st_size + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    check_header(file, {"w": (size // 4,)})
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 10_000  # to touch all of it takes 65,000, sixteen pages for each


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(safetensors({"w": tensor(shape=(100, 100))}, bytes(8)), id="lying-shape"),
        pytest.param(safetensors({"w": tensor(offsets=(0, 4))}, bytes(4)), id="lying-offsets"),
        pytest.param(safetensors({"w": tensor(shape=(2**62, 8))}, bytes(8)), id="overflow"),
        pytest.param(safetensors({"w": tensor()}, bytes(8))[:-3], id="truncated"),
        pytest.param(safetensors({"w": tensor()}, bytes(8)) + b"more", id="trailing"),
        pytest.param(struct.pack("<Q", 2**62) + b"{}", id="absurd-length"),
        pytest.param(struct.pack("<Q", 90_000_000) + b"{}", id="length-beyond-end"),
        pytest.param(pickle.dumps({"w": list(range(100))}), id="pickle"),
        pytest.param(b"PK\x03\x04" + bytes(100), id="zip"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", id="lfs-pointer"),
        pytest.param(b"", id="empty"),
    ],
)
def test_no_safetensors_file(file, content):
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="is not a safetensors file; zoo never unpickles"):
        check_header(file, {"w": (2,)})


def test_header_of_nothing(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        check_header(tmp_path / "none.safetensors", {})
    with pytest.raises(WeightsError, match="cannot be read"):
        check_header(tmp_path, {})


def test_fetched_file_is_checked_like_any_other(server, cache):
    check_header(get(server, cache).path, SHAPES)
