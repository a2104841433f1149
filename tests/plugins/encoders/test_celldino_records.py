"""Cell-DINO and channel-adaptive DINO: networks by name, stains, hashes, and refusals."""

import hashlib
import json
import shutil

import checkpoints
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from zoo.plugins.encoders import celldino, celldino_encoder
from zoo.plugins.encoders.celldino_published import PUBLISHED

import zoo
from zoo import errors


@pytest.fixture
def place(golden):
    return lambda kind: golden.parent / f"celldino{kind}-tiny"


def load(folder, **options):
    return zoo.load(f"celldino:{folder}", device="cpu", **options)


# Number of tensors, and SHA-256 of the lines "name shape" in order, of what the authors' functions
# of these names make; recorded from their code.
SHAPES = {
    "cell_dino_cp_vits8": (
        175,
        "b7d15138d00f0e98182a89f51bc188360ecbacb194c949c397528d04fedd5480",
    ),
    "cell_dino_hpa_vitl16": (
        343,
        "02a9d61237b0f9de7e27214acd865213c5dee2ad7dbca87c495c4ab4f34842b6",
    ),
    "cell_dino_hpa_vitl14": (
        343,
        "4a157539aea0ac1eccf1f82a7201dcb9789fd142159e2a77adec12312d3423ae",
    ),
    "channel_adaptive_dino_vitl16": (
        343,
        "d46f38ae5b7bf0d157d78db164446032579c271eaeeb83d06a92534ad3486677",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_published_networks_have_the_names_and_shapes_of_their_authors(place, tmp_path, name):
    folder = hub_model(place, tmp_path, name)
    spec = zoo.encoder_info(f"celldino:{folder}")
    with torch.device("meta"):
        state = celldino_encoder.CellDino(**spec.options).state_dict()
    lines = "\n".join(f"{k} {tuple(v.shape)}" for k, v in sorted(state.items()))
    assert (len(state), hashlib.sha256(lines.encode()).hexdigest()) == SHAPES[name]
    assert "FAIR Noncommercial" in spec.licence
    assert spec.trained_on
    assert set(SHAPES) == set(PUBLISHED)


def hub_model(place, folder, name):
    shutil.copy(place("") / "model.safetensors", folder)
    (folder / "config.json").write_text(json.dumps({"hub_model": name}))
    return folder


def test_a_checkpoint_of_a_published_network_loads_strictly(place, tmp_path):
    folder = hub_model(place, tmp_path, "cell_dino_cp_vits8")
    spec = zoo.encoder_info(f"celldino:{folder}")
    with torch.device("meta"):
        shapes = celldino_encoder.CellDino(**spec.options).state_dict()
    draw = torch.Generator().manual_seed(0)
    state = {k: torch.randn(v.shape, generator=draw) * 0.02 for k, v in shapes.items()}
    save_file(state, folder / "model.safetensors")
    encoder = load(folder)
    image = np.random.RandomState(0).randint(0, 256, (5, 128, 128)).astype(np.uint8)
    found = encoder.encode([image]).embedding
    assert found.shape == (1, 384)
    assert bool(found.isfinite().all())
    del state["blocks.3.11.ls2.gamma"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(errors.ArchitectureMismatchError, match=r"blocks\.3\.11\.ls2\.gamma"):
        load(folder)


def test_stains_of_cell_painting_are_placed_by_name(place, tmp_path):
    """RNA stands before ER, unlike in most tables of Cell Painting."""
    order = PUBLISHED["cell_dino_cp_vits8"]["channel_names"]
    assert order == ["DNA", "RNA", "ER", "AGP", "Mito"]
    encoder = load(checkpoints.relaid(place(""), tmp_path, {"channel_names": order}))
    assert zoo.load(encoder.spec.twin, device="cpu").spec.slots == tuple(order)
    record = json.loads((place("") / "cases.json").read_text())
    draw = np.random.RandomState(record["seed"])
    images = draw.randint(0, 256, (2, 5, 32, 32)).astype(np.uint8)
    expected = checkpoints.outputs(place(""))[0]
    usual = [0, 2, 1, 3, 4]  # DNA, ER, RNA, AGP, Mito
    stains = ("Hoechst", "ConA", "SYTO 14", "AGP", "MitoTracker")
    given = [zoo.Image(image[usual].copy(), stains=stains) for image in images]
    found = encoder.encode(given).embedding
    torch.testing.assert_close(found, expected["embedding"], rtol=1e-5, atol=1e-5)
    unnamed = encoder.encode(images[:, usual].copy()).embedding
    assert float((unnamed - expected["embedding"]).abs().max()) > 1e-2
    with pytest.raises(errors.ImageError, match="has no place"):
        encoder.encode([zoo.Image(images[0], stains=("DNA", "RNA", "ER", "AGP", "tubulin"))])


def test_a_file_of_another_hash_is_refused(place, tmp_path):
    content = (place("-bag") / "model.safetensors").read_bytes()
    found = hashlib.sha256(content).hexdigest()
    folder = checkpoints.relaid(place("-bag"), tmp_path, {"sha256": found})
    (folder / "model.safetensors").write_bytes(content)
    assert load(folder).weights_sha256 == found
    (folder / "model.safetensors").write_bytes(content[:-1] + b"\1")
    with pytest.raises(errors.IntegrityError, match="expected sha256"):
        load(folder)
    checkpoints.relaid(place("-bag"), tmp_path, {"sha256": "ef7c17ff"})
    with pytest.raises(errors.WeightsError, match=r"sha256 is not usable: .*64 lower-case hex"):
        load(folder)


WRONG = {
    "of no network": ({"hub_model": "dinov2_vits14"}, "hub_model 'dinov2_vits14', but must name"),
    "bias of another kind": ({"ffn_layer": "identity"}, "ffn_layer 'identity', which no Cell-DINO"),
    "antialiased positions": ({"interpolate_antialias": True}, "interpolate_antialias True"),
    "another offset": ({"interpolate_offset": 0.0}, r"interpolate_offset 0\.0"),
    "more groups than layers": ({"block_chunks": 6}, "block_chunks 6"),
    "half a register": ({"num_register_tokens": 0.5}, r"num_register_tokens 0\.5"),
    "a bag of wide images": ({"channel_adaptive": True}, "with channel_adaptive it must be 1"),
    "a text for a truth": ({"channel_adaptive": "yes"}, "channel_adaptive 'yes'"),
    "too few names": ({"channel_names": ["DNA"]}, "must name all 5 channels"),
    "heads that do not divide": ({"num_heads": 5}, "multiple of num_heads"),
    "a layer too many": ({"depth": 6, "block_chunks": 3}, r"blocks\.2\.5"),
    "registers of another kind": ({"num_register_tokens": 1}, "register_tokens"),
    "preprocessing of no kind": ({"preprocessing": 3}, "preprocessing is not usable"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_config_that_fits_no_network_is_refused(place, tmp_path, wrong):
    fields, message = WRONG[wrong]
    folder = checkpoints.relaid(place(""), tmp_path, fields)
    with pytest.raises(errors.WeightsError, match=message):
        load(folder)


def test_sizes_cannot_be_guessed(place, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"embed_dim": 32}))
    shutil.copy(place("") / "model.safetensors", tmp_path)
    with pytest.raises(errors.WeightsError, match=r"lacks img_size, .* give them, or hub_model"):
        celldino.resolve(str(tmp_path))


def test_images_that_do_not_fit_are_refused(place):
    encoder = load(place(""))
    with pytest.raises(errors.ImageError, match=r"3 channels, but celldino:.* takes 5"):
        encoder.encode([np.zeros((3, 32, 32), np.uint8)])
    with pytest.raises(errors.ImageError, match=r"36 × 32 pixels, but .* patches of 8 × 8"):
        encoder.encode([np.zeros((5, 36, 32), np.float32)], preprocess=False)
    image = np.zeros((5, 32, 32), np.float32)
    with pytest.raises(errors.ImageError, match=r"each of the 5 channels of .* once"):
        encoder.encode([image], channel_index=[[0, 1, 2, 3, 3]], preprocess=False)
    mixed = [np.zeros((c, 32, 32), np.uint8) for c in (1, 2)]
    with pytest.raises(errors.ZooError, match="concatenates channels"):
        load(place("-bag")).encode(mixed)
