"""Pathology encoders: the networks of their model cards, pooling, places of colours, and terms."""

import logging

import numpy as np
import pytest
import timm
import torch
from loopback_hub import in_place_of_the_hub
from safetensors.torch import load_file
from tiny_tiles import SMALL, checkpoint, on_meta, small
from zoo.plugins.encoders import pathology, pathology_encoder, transformers_names

import zoo
from zoo import errors

RECORDS = {spec.name: spec for spec in pathology.ENCODERS}
# Numbers that others name: parameters in millions (lazyslide-models), or bytes of the file on the
# hub in gigabytes, four to a parameter.
MILLIONS = {
    "phikon": 85.8,
    "phikon-v2": 303.4,
    "uni": 303.4,
    "uni2-h": 681.4,
    "virchow": 631.2,
    "virchow2": 631.2,
    "h0-mini": 85.7,
    "lunit-vits8": 21.7,
}
GIGABYTES = {
    "phikon-v2": 1.21,
    "h-optimus-0": 4.54,
    "h-optimus-1": 4.54,
    "prov-gigapath": 4.54,
    "kaiko-vits8": 0.0867,
    "kaiko-vits16": 0.0867,
    "kaiko-vitb16": 0.343,
    "lunit-vits16": 0.0867,
    "kaiko-vitl14": 1.22,
}
# First patch token and tokens of a tile of 224 pixels, as the model cards slice the output.
TOKENS = {
    "virchow": (1, 257),
    "virchow2": (5, 261),
    "h0-mini": (5, 261),
    "uni2-h": (9, 265),
    "h-optimus-0": (5, 261),
    "kaiko-vitl14": (5, 261),
    "prov-gigapath": (1, 197),
    "uni": (1, 197),
    "phikon-v2": (1, 197),
}


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_the_network_is_that_of_the_model_card(name):
    spec = RECORDS[name]
    network = on_meta(spec)
    count = sum(p.numel() for p in network.state_dict().values())
    assert name in MILLIONS or name in GIGABYTES or name == "kaiko-vitb8"  # where none is named
    if name in MILLIONS:
        assert round(count / 1e6, 1) == MILLIONS[name]
    if name in GIGABYTES:
        digits = 4 if GIGABYTES[name] < 0.1 else 3 if GIGABYTES[name] < 1 else 2
        assert round(4 * count / 1e9, digits) == GIGABYTES[name]
    network.blocks = network.blocks[:1]  # tokens are as many after each
    tokens = network.forward_features(torch.empty(1, 3, 224, 224, device="meta"))
    if name in TOKENS:
        assert (network.num_prefix_tokens, tokens.shape[1]) == TOKENS[name]
    factor = 2 if spec.options["pooling"] == "cls+mean" else 1
    assert spec.embedding_size == factor * tokens.shape[2]
    assert spec.citation
    assert spec.trained_on
    assert spec.pixel_size
    assert spec.licence != "not stated"
    assert zoo.encoder_info(spec.twin).control == "untrained"


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_embedding_is_what_the_model_card_takes(name, tmp_path):
    """Normalised by hand; CLS token, and the mean of the patches by the indices of the cards."""
    spec = small(RECORDS[name])
    path = tmp_path / "model.safetensors"
    checkpoint(spec, path)
    encoder = pathology_encoder.build(spec, weights=path, seed=0)
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    found = encoder.encode(images, preprocess=False).embedding
    backbone = encoder.model.backbone
    mean, sd = (torch.tensor([float(v) for v in spec.options[k].split()]) for k in ("mean", "sd"))
    given = ((images.permute(0, 2, 3, 1) - mean) / sd).permute(0, 3, 1, 2)
    first, _ = TOKENS.get(name, (1, 0))
    with torch.inference_mode():
        backbone.global_pool = "token"
        expected = backbone(given)  # timm's own pooling
        if spec.options["pooling"] == "cls+mean":
            backbone.global_pool = ""
            expected = torch.cat([expected, backbone(given)[:, first:].mean(1)], dim=1)
    # The same arithmetic, in another order.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.shape == (2, spec.embedding_size)


def test_tiles_are_divided_by_255_and_prov_gigapath_takes_their_centre():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224), dtype=np.uint8)
    for name, spec in RECORDS.items():
        encoder = pathology_encoder.TileEncoder(spec)
        prepared = encoder.prepare(pixels, "a tile")
        if name == "prov-gigapath":
            larger = torch.nn.functional.interpolate(
                torch.from_numpy(pixels)[None].float() / 255,
                (256, 256),
                mode="bilinear",
                antialias=True,
            )
            assert torch.allclose(prepared, larger[0, :, 16:240, 16:240], atol=1e-6)
        else:
            assert torch.equal(prepared, torch.from_numpy(pixels).float() / 255)


@pytest.mark.parametrize("layout", ["vit", "dinov2"])
def test_checkpoints_of_transformers(golden, layout):
    """Recorded from ViTModel and Dinov2Model of transformers 4.48.3, float32 on a CPU."""
    folder = golden.parent / "transformers-tiny"
    more = {"init_values": 1.0} if layout == "dinov2" else {}
    sizes = {"img_size": 32, "patch_size": 8, **SMALL}
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, **sizes, **more).eval()
    transformers_names.load_transformers(network, folder / f"{layout}.safetensors")
    case = load_file(folder / f"{layout}-expected.safetensors")
    with torch.inference_mode():
        found = network.forward_features(case["pixels"])[:, 0]
    torch.testing.assert_close(found, case["cls"], rtol=1e-5, atol=1e-5)


def test_a_file_of_the_other_layout_is_refused(golden):
    network = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=32, patch_size=8, **SMALL
    )
    with pytest.raises(errors.ArchitectureMismatchError, match=r"missing .*unexpected"):
        transformers_names.load_transformers(
            network, golden.parent / "transformers-tiny" / "dinov2.safetensors"
        )


def test_colours_are_placed_by_name():
    spec = small(pathology.resolve_untrained("kaiko-vits16"))
    encoder = pathology_encoder.build(spec, weights=None, seed=0)
    image = np.random.default_rng(0).integers(0, 256, (3, 224, 224), dtype=np.uint8)
    found = encoder.encode([image], stains=[("red", "green", "blue")]).embedding
    turned = encoder.encode([image[::-1].copy()], stains=[("Blue", "G", "r")]).embedding
    assert torch.equal(found, turned)
    assert torch.equal(found, encoder.encode([image]).embedding)
    assert not torch.allclose(found, encoder.encode([image[::-1].copy()]).embedding)
    with pytest.raises(errors.ImageError, match=r"'DNA' has no place in .*red, green, blue"):
        encoder.encode([image], stains=[("DNA", "ER", "AGP")])
    with pytest.raises(errors.ImageError, match="has 5 channels"):
        encoder.encode([np.zeros((5, 224, 224), np.uint8)])
    with pytest.raises(errors.ImageError, match="patches of 16 × 16"):
        encoder.encode([np.zeros((3, 100, 100), np.float32)], preprocess=False)


def test_twins_are_drawn_by_seed():
    spec = small(pathology.resolve_untrained("h0-mini"))
    state = torch.random.get_rng_state()
    first, again, other = (
        pathology_encoder.build(spec, weights=None, seed=s).model.state_dict() for s in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[n], again[n]) for n in first)
    name = "backbone.blocks.0.attn.qkv.weight"
    assert not torch.equal(first[name], other[name])
    assert torch.equal(first["backbone.blocks.0.ls1.gamma"], torch.ones(SMALL["embed_dim"]))
    with pytest.raises(errors.WeightsNotFoundError, match="without its weights"):
        pathology_encoder.build(RECORDS["h0-mini"], weights=None, seed=0)
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'h0-mini'"):
        zoo.encoder_info("pathology-untrained:h0-mni")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with in_place_of_the_hub(
        monkeypatch, tmp_path / "cache", {"paige-ai/Virchow2": {}, "MahmoodLab/UNI": {}}
    ) as hub:
        yield hub


def test_terms_are_said_before_a_gated_file_is_asked_for(hub, caplog):
    hub.fault = "gated"
    with caplog.at_level(logging.WARNING), pytest.raises(errors.AccessDeniedError) as error:
        zoo.load("virchow2", device="cpu")
    (told,) = caplog.messages
    page = f"{hub.endpoint}/paige-ai/Virchow2"
    for words in (
        "virchow2: paige-ai/Virchow2@latest",
        "CC BY-NC-ND 4.0",
        f"access at {page}",
        "2.5 GB",
    ):
        assert words in told
    start = "virchow2: paige-ai/Virchow2@main is not available: it is gated; accept the terms at "
    assert str(error.value).startswith(f"{start}{page} and log in")
    assert not hub.downloads


def test_pickles_are_never_asked_for(hub, caplog):
    with pytest.raises(errors.WeightsNotFoundError) as error:
        zoo.load("uni", device="cpu")
    for words in (
        f"accept the terms at {hub.endpoint}/MahmoodLab/UNI",
        "'zoo convert pytorch_model.bin",
        "weights=PATH",
    ):
        assert words in str(error.value)
    assert "pathology-untrained:uni" in str(error.value)
    assert hub.requests == []
    assert caplog.messages == []


def test_a_users_file_is_taken_in_place_of_a_pickle(tmp_path, monkeypatch):
    spec = small(RECORDS["uni"])
    monkeypatch.setattr("zoo._encoders.loading.get_spec", lambda name: spec)
    checkpoint(spec, tmp_path / "uni.safetensors")
    encoder = zoo.load("uni", device="cpu", weights=tmp_path / "uni.safetensors")
    assert encoder.provenance()["weights_sha256"]
    assert encoder.encode([np.zeros((3, 224, 224), np.uint8)]).embedding.shape == (1, 32)
