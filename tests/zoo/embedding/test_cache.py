"""The cache of embeddings: what hits, what must miss, and files that are broken or in the way."""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from zoo import errors
from zoo._data.dataset import Dataset
from zoo._embedding.cache import (
    ROOMS,
    EmbeddingCache,
    _code_fingerprint,
    _home,
    _modules,
    _sources,
    image_hash,
)
from zoo._embedding.embed import embed_many
from zoo._images.image import Image
from zoo.plugin import cache_folder

PLAIN = zoo.Preprocessing(scaling="none", resize=None, crop=None, min_side=4)


class Scaled(zoo.Encoder):
    """Mean and largest pixel times a parameter; counts the images that it is asked for."""

    def __init__(self, factor=1.0, *, seed=None, sha256=None, **changes):
        fields = {"name": "scaled", "builder": "m:f", "summary": "s", "preprocessing": PLAIN}
        model = torch.nn.Module()
        model.factor = torch.nn.Parameter(torch.tensor(factor))
        super().__init__(zoo.plugin.EncoderSpec(**{**fields, **changes}), model=model)
        self.from_registry = True  # as zoo.load says: only what it made has a complete record
        self.seed, self.weights_sha256 = seed, sha256
        self.asked = 0

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        self.asked += len(batch)
        rows = [torch.stack([i.float().mean(), i.float().max()]) for i in batch.images()]
        return zoo.Features(torch.stack(rows) * self.model.factor.float(), batch.counts)


def images(count=5, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Image(
            rng.integers(0, 4096, (i % 3 + 1, 16, 18), dtype=np.uint16), tuple("abc"[: i % 3 + 1])
        )
        for i in range(count)
    ]


def embed(some, encoder, cache):
    metadata = pd.DataFrame({"image": [f"{i}.tif" for i in range(len(some))]})
    source = Dataset("plate", metadata, some.__getitem__)
    before = encoder.asked
    matrix = embed_many(source, [encoder], cache=cache)[0].matrix
    return matrix, encoder.asked - before


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "embeddings"


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZOO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "zoo"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "zoo"
    monkeypatch.setenv("ZOO_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    assert EmbeddingCache().folder == tmp_path / "mine" / "embeddings"
    assert EmbeddingCache(tmp_path / "here").folder == tmp_path / "here" / "embeddings"


@pytest.mark.parametrize("again", ["same object", "new object"])
def test_a_hit_gives_the_same_bits_and_asks_no_encoder(folder, again):
    cache, some = EmbeddingCache(), images(130)
    first, asked = embed(some, Scaled(), cache)
    assert asked == 130
    second, asked = embed(some, Scaled(), cache if again == "same object" else EmbeddingCache())
    assert asked == 0
    assert second.dtype == np.float32
    assert first.tobytes() == second.tobytes()


@pytest.mark.slow
def test_another_process_finds_the_rows(folder, tmp_path):
    some = images(4)
    np.savez(tmp_path / "images.npz", *[image.pixels for image in some])
    source = Dataset("d", pd.DataFrame({"image": list("abcd")}), some.__getitem__)
    encoder = zoo.load("pixel-statistics-mean", device="cpu")
    wanted = embed_many(source, [encoder], cache=EmbeddingCache())[0].matrix
    code = """
import sys
import numpy as np, pandas as pd, zoo
from zoo._embedding.cache import EmbeddingCache
from zoo._embedding.embed import embed_many

encoder = zoo.load("pixel-statistics-mean", device="cpu")
type(encoder).forward = None
with np.load(sys.argv[1]) as file:
    some = [zoo.Image(file[f"arr_{i}"], tuple("abc"[: len(file[f"arr_{i}"])])) for i in range(4)]
source = zoo.Dataset("d", pd.DataFrame({"image": list("abcd")}), some.__getitem__)
found = embed_many(source, [encoder], cache=EmbeddingCache())[0].matrix
sys.stdout.write(found.tobytes().hex())
"""
    command = [sys.executable, "-c", code, str(tmp_path / "images.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == wanted.tobytes().hex(), done.stderr


def test_new_images_are_embedded_and_old_ones_found(folder):
    some = images(6)
    embed(some[:4], Scaled(), EmbeddingCache())
    matrix, asked = embed(some[::-1], Scaled(), EmbeddingCache())
    assert asked == 2
    assert np.array_equal(matrix, embed(some[::-1], Scaled(), None)[0])
    assert embed(some, Scaled(), EmbeddingCache())[1] == 0


def other_pixel(image):
    pixels = image.pixels.copy()
    pixels[-1, -1, -1] += 1
    return replace(image, pixels=pixels)


@pytest.mark.parametrize(
    "change",
    [
        other_pixel,
        lambda m: replace(m, pixels=m.pixels.astype(np.int32)),
        lambda m: replace(m, pixels=m.pixels.transpose(0, 2, 1)),
        lambda m: replace(m, pixels=m.pixels.reshape(len(m.pixels), 12, 24)),
        lambda m: replace(m, stains=None),
        lambda m: replace(m, stains=tuple("xyz"[: len(m.pixels)])),
    ],
    ids=["pixel", "type", "transposed", "shape", "no stains", "other stains"],
)
def test_another_image_misses(folder, change):
    some = images(3)
    embed(some, Scaled(), EmbeddingCache())
    changed = [change(image) for image in some]
    assert embed(changed, Scaled(), EmbeddingCache())[1] == 3
    assert embed(some, Scaled(), EmbeddingCache())[1] == 0


def test_the_order_of_channels_and_stains_counts():
    image = images(3)[2]
    turned = Image(image.pixels[::-1], image.stains)
    named = Image(image.pixels, image.stains[::-1])
    assert len({image_hash(m) for m in (image, turned, named)}) == 3
    assert image_hash(image) == image_hash(Image(image.pixels.copy(), image.stains))
    # The size of a pixel is not given to encoders.
    assert image_hash(image) == image_hash(Image(image.pixels, image.stains, 0.65))


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f2", ">f4", "f8", "i8"])
def test_every_type_can_be_hashed(dtype):
    pixels = np.arange(24).reshape(1, 4, 6).astype(dtype)
    turned = np.ascontiguousarray(pixels.T).T
    assert image_hash(Image(pixels)) == image_hash(Image(turned))
    assert len(image_hash(Image(pixels))) == 64


@pytest.mark.parametrize(
    "other",
    [
        lambda: Scaled(2.0),
        lambda: Scaled(name="other"),
        lambda: Scaled(builder="m:g"),
        lambda: Scaled(options={"depth": 2}),
        lambda: Scaled(seed=1),
        lambda: Scaled(sha256="ab" * 32),
        lambda: Scaled().to("cpu", torch.bfloat16),
        lambda: Scaled(preprocessing=replace(PLAIN, scaling="instance")),
        lambda: Scaled(preprocessing=replace(PLAIN, percentiles=(1, 99))),
        lambda: Scaled(preprocessing=replace(PLAIN, min_side=5)),
        lambda: Scaled().with_preprocessing(replace(PLAIN, crop=7)),
    ],
    ids=[
        "parameter",
        "name",
        "builder",
        "option",
        "seed",
        "weights",
        "dtype",
        "scaling",
        "percentiles",
        "smallest side",
        "crop",
    ],
)
@pytest.mark.parametrize("same_cache", [False, True])
def test_another_encoder_misses(folder, other, same_cache):
    some, cache = images(3), EmbeddingCache()
    embed(some, Scaled(), cache)
    again = cache if same_cache else EmbeddingCache()
    matrix, asked = embed(some, other(), again)
    assert asked == 3
    assert np.array_equal(matrix, embed(some, other(), None)[0])
    assert embed(some, Scaled(), again)[1] == 0


def test_seeds_of_the_registry_miss_each_other(folder):
    some = [Image(np.full((1, 20, 20), 7, np.uint8))]
    source = Dataset("d", pd.DataFrame({"image": ["a"]}), some.__getitem__)
    cache = EmbeddingCache()
    first, second, again = (
        embed_many(source, [zoo.load("gaussian", seed=seed)], cache=cache)[0].matrix
        for seed in (0, 1, 0)
    )
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again)


def test_changing_the_preprocessing_of_an_encoder_misses(folder):
    some, cache, encoder = images(3), EmbeddingCache(), Scaled()
    embed(some, encoder, cache)
    matrix, asked = embed(some, encoder.with_preprocessing(replace(PLAIN, crop=5)), cache)
    assert asked == 3
    assert np.array_equal(matrix, embed(some, encoder, None)[0])


def test_training_after_loading_misses(folder):
    some, encoder = images(3), Scaled()
    embed(some, encoder, EmbeddingCache())
    with torch.no_grad():
        encoder.model.factor += 1
    matrix, asked = embed(some, encoder, EmbeddingCache())
    assert asked == 3
    assert np.array_equal(matrix, embed(some, encoder, None)[0])


def test_encoders_that_come_and_go_are_not_taken_for_each_other(folder):
    # A new object can lie where an old one was, and so have its id.
    some, cache = images(2), EmbeddingCache()
    for factor in range(1, 20):
        matrix, asked = embed(some, Scaled(float(factor)), cache)
        assert asked == 2
        assert matrix[0, 1] == float(some[0].pixels.max()) * factor


def test_an_encoder_made_by_hand_is_never_cached(folder):
    encoder, some = Scaled(), images(2)
    encoder.from_registry = False
    cache = EmbeddingCache()
    assert [embed(some, encoder, cache)[1] for _ in range(2)] == [2, 2]
    assert not folder.exists()


def test_refused_items_are_not_remembered(folder):
    class Broken(Scaled):
        def forward(self, batch, **_):
            features = super().forward(batch)
            features.embedding[:1] = torch.nan
            return features

    cache = EmbeddingCache()
    source = Dataset("d", pd.DataFrame({"image": list("ab")}), images(2).__getitem__)
    found = embed_many(source, [Broken()], cache=cache, on_error="skip")[0]
    assert [item for item, _ in found.failures] == ["a"]
    again = Broken()
    with pytest.raises(errors.DataError, match="NaN or infinite numbers for a"):
        embed_many(source, [again], cache=EmbeddingCache())
    assert again.asked == 1


def files(folder):
    return sorted(p for p in folder.iterdir() if p.suffix == ".npz")


def test_one_file_for_each_number_of_channels_and_nothing_else(folder):
    embed(images(6), Scaled(), EmbeddingCache())
    assert sorted(folder.iterdir()) == files(folder)
    assert len(files(folder)) == 3


def stored():
    """The bytes of a file and what it should give."""
    cache, encoder = EmbeddingCache(), Scaled()
    row = np.array([1.5, 2.5], np.float32)
    cache.put(encoder, "ab" * 32, 1, row)
    cache.flush()
    (path,) = files(cache.folder)
    return path, row


def test_a_file_that_breaks_off_counts_as_empty(folder):
    path, row = stored()
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert EmbeddingCache().get(Scaled(), "ab" * 32, 1) is None
    path.write_bytes(content)
    assert np.array_equal(EmbeddingCache().get(Scaled(), "ab" * 32, 1), row)


def test_a_flipped_bit_never_gives_another_row(folder):
    path, row = stored()
    content = path.read_bytes()
    missed = 0
    for place in range(len(content)):
        spoilt = bytearray(content)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        found = EmbeddingCache().get(Scaled(), "ab" * 32, 1)
        missed += found is None
        assert found is None or np.array_equal(found, row)
    assert missed > 200


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", bytes(1000)])
def test_a_file_of_something_else_is_replaced(folder, content):
    path, _ = stored()
    path.write_bytes(content)
    some = [Image(np.ones((1, 8, 8), np.float32))]
    assert embed(some, Scaled(), EmbeddingCache())[1] == 1
    assert embed(some, Scaled(), EmbeddingCache())[1] == 0
    assert files(folder) == [path]


@pytest.mark.parametrize("what", ["array", "pickle", "names", "lengths"])
def test_other_files_of_numpy_count_as_empty(folder, what):
    path, _ = stored()
    with path.open("wb") as file:
        match what:
            case "array":
                np.save(file, np.ones(3))
            case "pickle":
                np.savez(file, hashes=np.array(["a", None], object), rows=np.ones((2, 2)))
            case "names":
                np.savez(file, other=np.ones(3))
            case "lengths":
                np.savez(file, hashes=np.array(["ab" * 32]), rows=np.ones((2, 2)))
    assert EmbeddingCache().get(Scaled(), "ab" * 32, 1) is None


@pytest.mark.parametrize("obstacle", ["file", "file above", "read-only", "folder in place"])
def test_what_cannot_be_written_is_no_error(tmp_path, monkeypatch, obstacle):
    home = tmp_path / "cache"
    monkeypatch.setenv("ZOO_CACHE", str(home))
    if obstacle == "file":
        home.write_text("not a folder")
    elif obstacle == "file above":
        home.mkdir()
        (home / "embeddings").write_text("not a folder")
    elif obstacle == "read-only":
        home.mkdir(mode=0o500)
        if os.access(home, os.W_OK):  # whoever runs this may write everywhere
            monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        path, _ = stored()
        path.unlink()
        (path / "in the way").mkdir(parents=True)
    some = [Image(np.ones((1, 8, 8), np.float32))]
    for _ in range(2):
        matrix, asked = embed(some, Scaled(), EmbeddingCache())
        assert asked == 1
        assert matrix.tolist() == [[1, 1]]
    assert [p.name for p in home.rglob("*.partial")] == []


def refuse(*_, **__):
    raise PermissionError("read-only")


def test_a_full_disk_leaves_no_partial_file(folder, monkeypatch):
    path, _ = stored()
    content = path.read_bytes()

    def half(file, **_):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", half)
    assert embed([Image(np.ones((1, 8, 8), np.float32))], Scaled(), EmbeddingCache())[1] == 1
    assert list(folder.iterdir()) == [path]
    assert path.read_bytes() == content


def test_a_process_that_is_overtaken_does_no_harm(folder, monkeypatch):
    cache, other = EmbeddingCache(), EmbeddingCache()
    for each, value in ((cache, 1), (other, 2)):
        each.put(Scaled(), "ab" * 32, 1, np.full(9, value, np.float32))
    save = np.savez

    def overtaken(file, **arrays):
        file.write(b"some of it")
        file.seek(0)
        monkeypatch.setattr(np, "savez", save)
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(os, "getpid", lambda: 1)
            other.flush()
        assert len(list(folder.glob("*.partial"))) == 1
        save(file, **arrays)

    monkeypatch.setattr(np, "savez", overtaken)
    cache.flush()
    assert EmbeddingCache().get(Scaled(), "ab" * 32, 1).tolist() == [1] * 9
    assert len(list(folder.iterdir())) == 1


@pytest.mark.slow
def test_processes_that_write_at_once_leave_a_sound_file(folder):
    code = """
import sys
from types import SimpleNamespace
import numpy as np
from zoo._embedding.cache import EmbeddingCache

class Cache(EmbeddingCache):
    def _key(self, encoder, count):
        return "shared"

cache, me, encoder = Cache(), int(sys.argv[1]), SimpleNamespace(name="x")
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
for i in range(25):
    cache.put(encoder, f"{me}-{i}", 1, np.full(500, me * 1000 + i, np.float32))
    cache.flush()
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(me)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in (1, 2)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        check_shared(folder, at_least=0)
        time.sleep(0.005)
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    # The last to write wins: a row that is lost is computed anew.
    check_shared(folder, at_least=25)
    assert [p.name for p in folder.iterdir()] == ["shared.npz"]


def check_shared(folder, at_least):
    if at_least or (folder / "shared.npz").exists():
        with np.load(folder / "shared.npz") as file:
            hashes, rows = file["hashes"].tolist(), file["rows"]
        for name, row in zip(hashes, rows, strict=True):
            me, i = map(int, name.split("-"))
            assert (row == me * 1000 + i).all()
        assert len(hashes) >= at_least


def test_the_hash_is_of_everything_in_one_known_way():
    pixels = np.arange(12, dtype=np.uint16).reshape(1, 3, 4)
    header = b"<u2(1, 3, 4)('DNA',)"
    wanted = hashlib.sha256(header + pixels.tobytes()).hexdigest()
    assert image_hash(Image(pixels, ("DNA",))) == wanted


MASK = np.random.default_rng(0).integers(0, 3, (16, 18))
TEXTURE = "zoo.plugins.controls.texture"
MARKED = [
    {"mask": MASK},
    {"mask": MASK, "types": np.array([0, 1])},
    {"mask": MASK, "types": np.array([1, 0])},
    {"mask": MASK, "types": np.array([0, 1, 0])},
    {"mask": MASK[::-1]},
    {"mask": 0 * MASK},
]


@pytest.mark.parametrize("change", MARKED)
def test_objects_count_where_they_are_given(folder, change):
    some = images(3)
    embed(some, Scaled(), EmbeddingCache())
    changed = [replace(image, **change) for image in some]
    assert embed(changed, Scaled(), EmbeddingCache())[1] == 3
    assert embed(changed, Scaled(), EmbeddingCache())[1] == 0
    assert embed(some, Scaled(), EmbeddingCache())[1] == 0


def test_all_objects_are_told_apart():
    image = images(1)[0]
    assert len({image_hash(replace(image, **change)) for change in [{}, *MARKED]}) == 7


def test_the_type_of_the_integers_of_a_mask_says_nothing():
    image = images(1)[0]
    hashes = {
        image_hash(replace(image, mask=MASK.astype(dtype), types=np.array([0, 1], dtype)))
        for dtype in ("u1", "i4", ">i8", "u8")
    }
    turned = np.asfortranarray(MASK)
    hashes.add(image_hash(replace(image, mask=turned, types=np.array([0, 1]))))
    assert len(hashes) == 1


def test_the_code_of_an_encoder_inside_another_counts(tmp_path, monkeypatch):
    # Outsiders' encoders inside ours: what is kept must not outlive their code either.
    (tmp_path / "outsider_for_cache.py").write_text(
        "import zoo\nclass Inner(zoo.Encoder):\n    forward = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import outsider_for_cache

    spec = zoo.plugin.EncoderSpec(name="inner", builder="m:f", summary="s")
    outer = Scaled()
    plain = _modules(outer)
    outer.inner = outsider_for_cache.Inner(spec)
    assert _modules(outer) == [*plain, "outsider_for_cache"]


def test_code_below_a_plugins_package_counts(tmp_path, monkeypatch):
    package = tmp_path / "nested_plugin"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "enc.py").write_text("from nested_plugin.sub import net\n")
    (package / "sub" / "__init__.py").write_text("")
    net = package / "sub" / "net.py"
    net.write_text("GAIN = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = _code_fingerprint("nested_plugin.enc")
    _code_fingerprint.cache_clear()
    assert _code_fingerprint("nested_plugin.enc") == before
    net.write_text("GAIN = 2\n")
    _code_fingerprint.cache_clear()
    assert _code_fingerprint("nested_plugin.enc") != before


def test_only_code_that_makes_embeddings_counts():
    files = [file.as_posix() for name in (*ROOMS, _home(TEXTURE)) for file in _sources(name)]
    for wanted in ("controls/texture.py", "controls/segmentation.py", "_images/preprocess.py"):
        assert any(file.endswith(wanted) for file in files)
    assert any("kernels/_ragged_attention.py" in file for file in files)
    for unwanted in ("plugins/datasets", "plugins/phantom", "zoo/_report", "zoo/_cli"):
        assert not any(unwanted in file for file in files)


def test_a_module_without_a_package_counts_alone(tmp_path, monkeypatch):
    (tmp_path / "lone_plugin.py").write_text("GAIN = 1\n")
    (tmp_path / "neighbour.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert [file.name for file in _sources(_home("lone_plugin"))] == ["lone_plugin.py"]
