"""An encoder in an environment of its own: its numbers, its record, and processes beside it."""

import ast
import json
import os
import pickle
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import zoo
import zoo.testing
from zoo import errors, plugin
from zoo._embedding.cache import EmbeddingCache
from zoo._environments import worker

PLAIN = plugin.Preprocessing(scaling="none", resize=None, crop=None)


def images(*counts, side=40):
    rng = np.random.default_rng(sum(counts))
    return [rng.random((c, side, side), dtype=np.float32) for c in counts]


def expected(given):
    return np.array([[x.mean(dtype=np.float64), x.std(dtype=np.float64)] for x in given])


def test_the_library_is_that_of_the_environment(in_environment):
    import clashing

    assert clashing.GAIN == 2  # here; in the environment it is 1
    encoder = plugin.build(in_environment(preprocessing=PLAIN, embedding_size=2))
    given = images(1, 3, 2)
    found = encoder.encode(given)
    np.testing.assert_allclose(found.numpy(), expected(given), rtol=1e-5)
    assert found.counts.tolist() == [1, 3, 2]
    assert "plugin_in_environment" not in sys.modules


def test_batches_of_any_size_follow_each_other(in_environment):
    encoder = plugin.build(in_environment(preprocessing=PLAIN))
    for count, side in ((1, 16), (9, 200), (2, 17), (5, 333)):  # memory grows and is used again
        given = images(*[count] * 3, side=side)
        found = encoder.encode(given, batch_planes=2 * count)
        np.testing.assert_allclose(found.numpy(), expected(given), rtol=1e-5)


def test_the_builder_gets_all_files_of_the_record(in_environment, tmp_path):
    paths = [tmp_path / f"{size}.bin" for size in (5, 2, 9)]
    for path in paths:
        path.write_bytes(bytes(int(path.stem)))
    files = tuple(plugin.Weights(path=path) for path in paths[1:])
    spec = in_environment("sizes_of_files", files=files, preprocessing=PLAIN)
    encoder = plugin.build(spec, weights=paths[0])
    assert encoder.encode(images(2)).numpy().tolist() == [[5, 2, 9]]


def _text_of(path):
    return Path(path).read_text() if Path(path).exists() else ""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such way")
def test_memory_of_a_call_is_kept_for_the_next(in_environment):
    size, layers = 8_000_000, 12
    options = {"bytes": size, "layers": layers}
    encoder = plugin.build(in_environment("faults_of_pages", options=options, preprocessing=PLAIN))
    if "[always]" in _text_of("/sys/kernel/mm/transparent_hugepage/enabled"):
        pytest.skip("pages are large here, and their number says little")
    first, *later = (encoder.encode(images(1)).numpy().item() for _ in range(4))
    pages = size * layers / os.sysconf("SC_PAGE_SIZE")
    assert first > 0.9 * pages  # so that it counts what it is to count
    assert max(later) < 0.1 * pages


def test_the_builder_gets_what_the_record_says(in_environment, tmp_path):
    file = tmp_path / "w.safetensors"
    save_file({"w": np.zeros(3, np.float32)}, file)
    spec = in_environment("told", options={"gain": 7}, slots=("DNA", "ER"), preprocessing=PLAIN)
    encoder = plugin.build(spec, weights=file, seed=5)
    found = encoder.encode(images(2), stains=[["ConA", "Hoechst"]]).embedding[0].tolist()
    assert found[:4] == [7, 5, file.stat().st_size, len("cpu")]
    assert found[4:6] == [1, len("ConAHoechst")]
    assert found[6] != os.getpid()


def test_the_kit_passes(in_environment, capsys):
    with pytest.MonkeyPatch.context() as elsewhere:  # the kit's process may have been started there
        elsewhere.setenv("ZOO_CACHE", "nowhere")
        zoo.testing.check_encoder("pixel-statistics-mean")
    capsys.readouterr()
    checks = zoo.testing.check_encoder(in_environment(embedding_size=2))
    assert "24 checks passed" in capsys.readouterr().out
    ran = {c.name for c in checks if c.skipped is None}
    assert {"pickling", "processes", "threads", "device", "network", "silent", "loading"} <= ran


def test_copies_have_workers_of_their_own(in_environment):
    encoder = plugin.build(in_environment("told", options={"gain": 1}))
    (given,) = images(1)

    def process(one):
        return int(one.encode([given]).embedding[0, 6])

    assert process(encoder) == process(encoder)
    again = pickle.loads(pickle.dumps(encoder))
    assert process(again) != process(encoder)


def test_threads_take_turns(in_environment):
    encoder = plugin.build(in_environment(preprocessing=PLAIN))
    jobs = [images(c) for c in (1, 2, 3, 4, 5, 6)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(encoder.encode, jobs))
    for given, features in zip(jobs, found, strict=True):
        np.testing.assert_allclose(features.numpy(), expected(given), rtol=1e-5)


def test_a_fork_does_not_listen_to_its_parents_worker(in_environment):
    encoder = plugin.build(in_environment("told", options={"gain": 1}))
    (given,) = images(1)

    def process():
        return int(encoder.encode([given]).embedding[0, 6])

    own = process()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        torch.set_num_threads(1)  # the others were not copied
        with os.fdopen(write, "w") as answer:
            answer.write(str(process()))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        found = answer.read()
    os.waitpid(pid, 0)
    assert found.isdigit()
    assert int(found) != own
    assert process() == own  # the child's end has not ended it


def test_provenance_and_cache_tell_environments_apart(in_environment, made):
    encoder = plugin.build(in_environment())
    encoder.from_registry = True
    said = encoder.provenance()
    assert said["environment"]["clashing"] == "1.0"
    assert said["environment"]["python"] == made.python
    assert "clashing==1.0" in said["environment_requirements"]
    assert said["environment_sha256"] == made.sha256
    json.dumps(said)
    cache = EmbeddingCache()
    key = cache._key(encoder, 2)
    assert cache._key(encoder, 2) == key
    encoder._about["sha256"] = "0" * 64
    assert cache._key(encoder, 2) != key


def test_only_float32_on_the_cpu(in_environment):
    encoder = plugin.build(in_environment())
    with pytest.raises(ValueError, match="which gets and returns float32: leave out dtype="):
        encoder.to(dtype=torch.float16)
    with pytest.raises(ValueError, match="on the CPU only"):
        encoder.to("cuda")
    assert encoder.to("cpu", torch.float32) is encoder


def test_another_device_starts_the_worker_again(in_environment):
    spec = in_environment("told", options={"gain": 1}, preprocessing=PLAIN)
    gpu = replace(spec, environment=replace(spec.environment, gpu=True))
    encoder = plugin.build(gpu)
    (given,) = images(1)
    before = encoder.encode([given]).embedding[0].tolist()
    found = encoder.to("cpu:0").encode([given]).embedding[0].tolist()
    assert (before[3], found[3]) == (len("cpu"), len("cpu:0"))
    assert before[6] != found[6]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "needs requirements= or file="),
        ({"requirements": "numpy"}, "must be a tuple of texts"),
        ({"requirements": ("a\nb",)}, "one line"),
        ({"requirements": ("a",), "limit": 0}, "must be positive"),
        ({"requirements": ("a",), "gpu": "yes"}, "must be True or False"),
    ],
)
def test_wrong_fields_are_named(wrong, words):
    with pytest.raises((TypeError, ValueError), match=words):
        plugin.Environment(**wrong)
    with pytest.raises(TypeError, match=r"environment of x is 'numpy'"):
        plugin.EncoderSpec(name="x", builder="m:f", summary="s", environment="numpy")


def test_a_file_counts_by_what_is_in_it(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("# pinned\nnumpy==1.26.4\n\n")
    first = plugin.Environment(requirements=("six",), file=file)
    assert first.lines == ("six", "numpy==1.26.4")
    assert str(first) == "six, those in requirements.txt"
    key = first.key
    file.write_text("numpy==1.26.3\n")
    assert plugin.Environment(requirements=("six",), file=str(file)).key != key
    file.unlink()
    with pytest.raises(errors.PluginError, match=r"requirements\.txt cannot be read"):
        _ = first.lines


def test_the_worker_is_written_for_older_pythons():
    source = Path(worker.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    foreign = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert foreign == {"numpy"}
