"""Every encoder that is listed loads a random checkpoint of its published layout, strictly.

Big networks are narrower here, with the names of the published files; the names and shapes at full
size are compared in the tests of each encoder. Each then embeds real images, or says why not.
"""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny_tiles import checkpoint, small
from zoo.plugins.encoders import chadavit, openphenom, pathology, published_folder, timm_encoder
from zoo.registry import registry

import zoo
from zoo import errors

FOLDERS = ("chadavit", "openphenom", "channelvit", "morphem", "subcell", "celldino")
TIMM = ("timm:test_vit.r160_in1k/mean", "timm:test_vit.r160_in1k/rgb")
NAMED = [spec.name for spec in registry().encoders.values() if spec.weights is not None]
CASES = (*NAMED, *(f"{f}:" for f in FOLDERS), *TIMM)
PUBLISHED = tuple(f"hf:{f}" for f in FOLDERS)  # loaded by the families above


def randomised(source, target, seed=0):
    """Copy a recorded checkpoint with all values drawn again."""
    draw = torch.Generator().manual_seed(seed)
    state = {
        name: torch.randn(tensor.shape, generator=draw) * 0.2
        for name, tensor in load_file(source / "model.safetensors").items()
    }
    save_file(state, target)
    return state


def small_copy(case, golden, folder):
    """Write a random checkpoint, and return its record, its file and its tensors."""
    path = folder / "model.safetensors"
    family = case.removeprefix("hf:").partition(":")[0]
    if case in TIMM:
        spec = zoo.encoder_info(case)
        network = timm.create_model(str(spec.options["model"]), pretrained=False, num_classes=0)
        draw = torch.Generator().manual_seed(0)
        state = {
            name: torch.randn(tensor.shape, generator=draw) * 0.05
            for name, tensor in network.state_dict().items()
        }
        save_file(state, path)
        return spec, path, state
    if family in FOLDERS:
        source = golden.parent / f"{family}-tiny"
        state = randomised(source, path)
        config = json.loads((source / "config.json").read_text()) | {"model_type": family}
        (folder / "config.json").write_text(json.dumps(config))
        return zoo.encoder_info(f"{case.partition(':')[0]}:{folder}"), path, state
    spec = zoo.encoder_info(case)
    if spec in pathology.ENCODERS:
        spec = small(spec)
        return spec, path, checkpoint(spec, path)
    name = {"chadavit-idrcell100k": "chadavit-tiny", "openphenom-s16": "openphenom-published-tiny"}
    source = golden.parent / name[case]
    state = randomised(source, path)
    shutil.copy(source / "config.json", folder)
    tiny = zoo.encoder_info(f"{case.partition('-')[0]}:{folder}")
    changed = {f: getattr(tiny, f) for f in ("options", "preprocessing", "embedding_size")}
    return replace(spec, **changed), path, state


@pytest.fixture(params=(*CASES, *PUBLISHED))
def case(request, golden, tmp_path):
    return small_copy(request.param, golden, tmp_path)


def test_a_random_checkpoint_loads_strictly(case):
    spec, path, state = case
    encoder = zoo.plugin.build(spec, weights=path)
    low, _ = spec.channels
    side = encoder.spec.preprocessing.crop
    noise = np.random.default_rng(0).integers(0, 256, (low, side, side), dtype=np.uint8)
    embedding = encoder.encode([noise]).embedding
    assert torch.isfinite(embedding).all()
    assert embedding.std() > 0
    if spec.embedding_size is not None:
        assert embedding.shape == (1, spec.embedding_size)
    # Every tensor of the encoder is needed: without one, the file is refused by its name.
    needed = [
        n for n in state if not n.startswith(("decoder", "encoder_", "encoder.vit_backbone.fc_"))
    ]
    gone = needed[len(needed) // 2]
    save_file({n: t for n, t in state.items() if n != gone}, path)
    with pytest.raises(errors.ArchitectureMismatchError) as error:
        zoo.plugin.build(spec, weights=path)
    assert "missing" in str(error.value)
    assert gone in str(error.value)


def test_files_in_half_precision_are_run_in_single(case):
    spec, path, state = case
    save_file({name: tensor.half() for name, tensor in state.items()}, path)
    encoder = zoo.plugin.build(spec, weights=path)
    assert {parameter.dtype for parameter in encoder.model.parameters()} == {torch.float32}


def test_files_of_whole_numbers_are_refused(case):
    spec, path, state = case
    save_file({name: tensor.to(torch.int32) for name, tensor in state.items()}, path)
    with pytest.raises(errors.ArchitectureMismatchError, match="not floating point"):
        zoo.plugin.build(spec, weights=path)


def test_every_encoder_is_among_the_cases():
    """A new name or family of trained encoders needs a line here."""
    families = {f.scheme for f in registry().families.values()}
    controls = {s for s in families if s.endswith("untrained")} | {"mask-only", "one-channel"}
    assert families - controls == {*FOLDERS, "timm", "hf"}
    ours = (*chadavit.ENCODERS[:1], *openphenom.ENCODERS[:1], *pathology.ENCODERS)
    assert [spec.name for spec in ours] == NAMED
    assert set(published_folder.READERS) == set(FOLDERS)


# Tokens before the patches, and the side that the network is made for.
DINO = {
    "vit_small_patch14_dinov2.lvd142m": (1, 518),
    "vit_small_patch14_reg4_dinov2.lvd142m": (5, 518),
    "vit_small_patch16_dinov3.lvd1689m": (5, 256),
    "convnext_tiny.dinov3_lvd1689m": (None, 224),
}


@pytest.mark.parametrize("name", DINO)
def test_dino_needs_no_names_of_its_own(name):
    spec = zoo.encoder_info(f"timm:{name}/rgb")
    with torch.device("meta"):
        network = timm_encoder.create(str(spec.options["model"]), 0)
    prefix, side = DINO[name]
    assert getattr(network, "num_prefix_tokens", None) == prefix
    assert network.pretrained_cfg["input_size"] == (3, side, side)
    assert spec.licence != "not stated"
    assert spec.weights.filename.endswith(".safetensors")


@pytest.fixture(scope="module")
def fields(real_data):
    """Name, pixels and stains of real fields of 1 to 6 channels."""
    with (real_data / "fields" / "labels.csv").open() as table:
        rows = list(csv.DictReader(table))
    found = []
    for row in rows:
        pixels = zoo.read_image(real_data / "fields" / row["image"]).pixels
        found.append((row["image"], pixels, row["channels"].split("|")))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_real_fields_are_embedded_or_it_is_said_why_not(name, fields, golden, tmp_path):
    spec, path, _ = small_copy(name, golden, tmp_path)
    encoder = zoo.plugin.build(spec, weights=path)
    low, high = spec.channels
    for image, pixels, stains in fields:
        count = len(pixels)
        if not low <= count <= (high or count):
            with pytest.raises(errors.ImageError, match=f"image 0 has {count} channels?"):
                encoder.encode([pixels])
            continue
        embedding = encoder.encode([pixels]).embedding
        assert torch.isfinite(embedding).all(), image
        assert embedding.shape[1] == (spec.embedding_size or embedding.shape[1])
        if spec.slots:  # microtubules and proteins, or colours, that no field has
            with pytest.raises(errors.ImageError, match=r" of | in ") as error:
                encoder.encode([pixels], stains=[stains])
            assert any(repr(stain) in str(error.value) for stain in stains)
            assert any(slot in str(error.value) for slot in spec.slots)
