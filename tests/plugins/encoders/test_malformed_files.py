"""Two hundred malformed safetensors files: each gives a clean error, none a wrong network."""

import json
import shutil
import struct

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import zoo

SEEDS = 200
SCHEMES = ("chadavit", "openphenom", "morphem", "channelvit", "subcell", "celldino")


def split(content):
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(header, body, size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def pick(rng, header):
    names = sorted(name for name in header if name != "__metadata__")
    return names[rng.integers(len(names))]


def cut(rng, content):
    return content[: rng.integers(0, len(content) - 1)]


def longer(rng, content):
    return content + rng.bytes(int(rng.integers(1, 99)))


def other_length(rng, content):
    size = [0, 1, 2**20, 2**40, 2**63, 2**64 - 1, int(rng.integers(2, 500))][rng.integers(7)]
    return struct.pack("<Q", size) + content[8:]


def flipped_header(rng, content):
    (size,) = struct.unpack("<Q", content[:8])
    spoilt = bytearray(content)
    for _ in range(int(rng.integers(1, 20))):
        spoilt[8 + int(rng.integers(size))] = int(rng.integers(256))
    return bytes(spoilt)


def other_field(rng, content):
    header, body = split(content)
    entry = header[pick(rng, header)]
    wrong = [
        ("dtype", "I64"),
        ("dtype", "F8"),
        ("dtype", None),
        ("shape", [-1]),
        ("shape", [2**62, 4]),
        ("shape", "3"),
        ("shape", [1.5]),
        ("shape", []),
        ("data_offsets", [0, 2**63]),
        ("data_offsets", [8, 0]),
        ("data_offsets", [-8, 8]),
        ("data_offsets", None),
    ]
    field, value = wrong[rng.integers(len(wrong))]
    entry[field] = value
    return joined(header, body)


def no_field(rng, content):
    header, body = split(content)
    header[pick(rng, header)].pop(["dtype", "shape", "data_offsets"][rng.integers(3)])
    return joined(header, body)


def no_tensor(rng, content):
    header, body = split(content)
    header.pop(pick(rng, header))
    return joined(header, body)


def renamed(rng, content):
    header, body = split(content)
    name = pick(rng, header)
    header[name[::-1]] = header.pop(name)
    return joined(header, body)


def overlapping(rng, content):
    header, body = split(content)
    one, other = pick(rng, header), pick(rng, header)
    header[one]["data_offsets"] = header[other]["data_offsets"]
    return joined(header, body + b"\0" * (one == other))


def no_json(rng, content):
    texts = [b"", b"[]", b"null", b"{" * 5000, b"\xff\xfe", b'{"a": 1}', b"{}", b'{"":{}}']
    _, body = split(content)
    return joined(texts[rng.integers(len(texts))], body)


def something_else(rng, content):
    kinds = [b"", b"\x80\x04}.", b"PK\x03\x04", b"version https://git-lfs.github.com/spec/v1\n"]
    return kinds[rng.integers(len(kinds))] + rng.bytes(int(rng.integers(0, 300)))


MUTATIONS = (
    *(cut, longer, other_length, flipped_header, other_field, no_field, no_tensor, renamed),
    *(overlapping, no_json, something_else),
)


@pytest.fixture(scope="module")
def folders(golden, tmp_path_factory):
    """A copy of each checkpoint, what it gives, and OpenPhenom in its published layout."""
    found = []
    for scheme in (*SCHEMES, "published"):
        name = "openphenom" if scheme == "published" else scheme
        folder = tmp_path_factory.mktemp(scheme) / "checkpoint"
        shutil.copytree(golden.parent / f"{name}-tiny", folder)
        if scheme == "published":
            state = load_file(folder / "model.safetensors")
            save_file({f"encoder.{k}": v for k, v in state.items()}, folder / "model.safetensors")
        content = (folder / "model.safetensors").read_bytes()
        found.append((f"{name}:{folder}", folder / "model.safetensors", content))
    return found


@pytest.mark.parametrize("block", range(10))
def test_a_malformed_file_gives_a_clean_error(folders, block):
    for seed in range(block, SEEDS, 10):
        rng = np.random.default_rng(seed)
        name, path, content = folders[seed % len(folders)]
        mutation = MUTATIONS[seed % len(MUTATIONS)]
        path.write_bytes(mutation(rng, content))
        try:
            with pytest.raises(zoo.errors.WeightsError) as caught:
                zoo.load(name, device="cpu")
        except BaseException:
            raise AssertionError(f"seed {seed}: {mutation.__name__} of {name}") from None
        finally:
            path.write_bytes(content)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 3000


def test_the_files_are_sound_before(folders):
    for name, _, _ in folders:
        zoo.load(name, device="cpu")
