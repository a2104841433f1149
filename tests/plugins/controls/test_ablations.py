"""Encoders on masks alone and on one channel at a time, against the encoder inside by hand."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from zoo.plugins.controls import ablation_families, segmentation

import zoo
from zoo import errors
from zoo.testing import check_encoder

COMMIT = "0" * 40
VIT = "untrained:test_vit"
# Products of other shapes sum in another order: float32 with room.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def images(*counts, side=64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((c, side, side), dtype=np.float32) for c in counts]


def blobs(side=64, count=3):
    mask = np.zeros((side, side), np.int64)
    for k in range(count):
        mask[6 + 18 * k : 16 + 18 * k, 8 + 5 * k : 20 + 5 * k] = k + 1
    return mask


@pytest.fixture(scope="module")
def chadavit(golden):
    return f"chadavit:{golden}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A weight file of the small network, drawn by another seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = timm.create_model("test_vit", num_classes=0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(network.state_dict(), path)
    return path


def inside(name, given, **arguments):
    """The encoder inside on every channel, one call for each."""
    encoder = zoo.load(name, **arguments)
    return [
        torch.cat([encoder.encode([p[None]], preprocess=False).embedding for p in image])
        for image in given
    ]


class TestOneChannel:
    @pytest.mark.parametrize("ending", ["", "/mean"])
    @pytest.mark.parametrize("inner", ["chadavit", VIT, "untrained:test_resnet", "texture-mean"])
    def test_mean_of_what_the_encoder_gives_each_channel(self, inner, ending, chadavit):
        inner = chadavit if inner == "chadavit" else inner
        given = images(1, 3, 2)
        expected = [rows.mean(0) for rows in inside(inner, given)]
        found = zoo.load(f"one-channel:{inner}{ending}").encode(given, preprocess=False).embedding
        torch.testing.assert_close(found, torch.stack(expected), **CLOSE)

    @pytest.mark.parametrize("inner", ["chadavit", f"{VIT}/concat", "pixel-statistics"])
    def test_joined_is_channel_after_channel(self, inner, chadavit):
        inner = chadavit if inner == "chadavit" else inner
        given = images(3, 3)
        expected = [rows.flatten() for rows in inside(inner, given)]
        found = zoo.load(f"one-channel:{inner}/concat").encode(given, preprocess=False).embedding
        torch.testing.assert_close(found, torch.stack(expected), **CLOSE)

    def test_channels_see_each_other_in_the_encoder_but_not_here(self, chadavit):
        first, second = images(2, 2)
        second[0] = first[0]
        for name, same in ((chadavit, False), (f"one-channel:{chadavit}", True)):
            rows = zoo.load(name).encode([first, second], preprocess=False, channels=True).channels
            assert torch.allclose(rows[0], rows[2], **CLOSE) == same

    def test_the_order_of_channels_means_nothing_to_the_mean(self, chadavit):
        (image,) = images(3)
        encoder = zoo.load(f"one-channel:{chadavit}/mean")
        rows = encoder.encode([image, image[[2, 0, 1]]], preprocess=False).embedding
        torch.testing.assert_close(rows[0], rows[1], **CLOSE)

    def test_joined_refuses_other_counts(self):
        with pytest.raises(errors.ImageError, match="image 1 has 3"):
            zoo.load(f"one-channel:{VIT}/concat").encode(images(2, 3), preprocess=False)

    def test_takes_more_channels_than_the_encoder_at_once(self, chadavit):
        many = images(14, side=32)
        with pytest.raises(errors.ImageError, match="14 channels"):
            zoo.load(chadavit).encode(many, preprocess=False)
        found = zoo.load(f"one-channel:{chadavit}").encode(many, preprocess=False)
        assert found.embedding.isfinite().all()

    def test_gives_channels_tokens_and_layers_as_the_encoder_does(self, chadavit):
        given = images(2, 1, 3)
        encoder, plain = zoo.load(f"one-channel:{chadavit}"), zoo.load(chadavit)
        found = encoder.encode(given, preprocess=False, channels=True, tokens=True, layer=2)
        planes = [p[None] for image in given for p in image]
        each = plain.encode(planes, preprocess=False, tokens=True, layer=2)
        torch.testing.assert_close(found.channels, each.embedding, **CLOSE)
        torch.testing.assert_close(found.tokens, each.tokens, **CLOSE)
        assert found.token_offsets.tolist() == [0, 2 * 16, 3 * 16, 6 * 16]
        with pytest.raises(ValueError, match=r"does not have the output .tokens"):
            zoo.load(f"one-channel:{VIT}").encode(given, preprocess=False, tokens=True)

    def test_half_precision_is_that_of_the_encoder(self, chadavit):
        encoder, plain = (
            zoo.load(name, device="cpu", dtype="bfloat16")
            for name in (f"one-channel:{chadavit}", chadavit)
        )
        assert encoder.dtype == plain.dtype == torch.bfloat16
        rounded = {n: p.dtype for n, p in plain.model.named_parameters()}
        assert {n: p.dtype for n, p in encoder.model.named_parameters()} == rounded
        assert torch.float32 in rounded.values()  # norms

    def test_all_planes_go_through_at_once(self, monkeypatch):
        encoder = zoo.load(f"one-channel:{VIT}")
        seen = []
        forward = type(encoder.inner).forward
        monkeypatch.setattr(
            type(encoder.inner),
            "forward",
            lambda self, batch, **asked: seen.append(len(batch)) or forward(self, batch, **asked),
        )
        encoder.encode(images(4, 5, 6), preprocess=False)
        assert seen == [15]

    def test_stains_and_masks_come_along(self):
        stains = ("actin", "DNA")
        image = 0.1 * images(2)[0]
        image[:, blobs() > 0] += 1
        encoder = zoo.load("one-channel:object-density/concat")
        found = encoder.encode([image], stains=[stains], masks=[blobs(count=2)], preprocess=False)
        assert found.embedding[0, [0, 20]].tolist() == [2, 2]
        found = encoder.encode([image], stains=[stains], preprocess=False)
        assert found.embedding[0, [0, 20]].tolist() == [3, 3]


class TestMaskOnly:
    @pytest.mark.parametrize("inner", ["chadavit", VIT, "untrained:test_resnet", "texture-mean"])
    def test_is_the_encoder_on_zeros_and_ones(self, inner, chadavit):
        inner = chadavit if inner == "chadavit" else inner
        masks = [blobs(), blobs(count=1), 3 * blobs(count=2)]
        binary = [(m > 0).astype(np.float32)[None] for m in masks]
        expected = zoo.load(inner).encode(binary, preprocess=False).embedding
        found = zoo.load(f"mask-only:{inner}").encode(
            images(1, 3, 2), masks=masks, preprocess=False
        )
        torch.testing.assert_close(found.embedding, expected, **CLOSE)

    def test_without_a_mask_the_threshold_decides(self):
        image = 0.1 * images(1)[0] + (blobs() > 0)
        seen = segmentation.segment(image) > 0
        assert np.mean(seen != (blobs() > 0)) < 0.02  # edges, by parts of a pixel
        encoder = zoo.load(f"mask-only:{VIT}")
        found = encoder.encode([image], preprocess=False).embedding
        given = encoder.encode([image], masks=[seen.astype(int)], preprocess=False).embedding
        assert torch.equal(found, given)

    @pytest.mark.parametrize("gain", [0.25, 4.0])
    def test_intensity_is_gone(self, gain):
        (image,) = images(1, seed=3)
        image = 0.1 * image + (blobs() > 0)
        encoder = zoo.load(f"mask-only:{VIT}")
        rows = encoder.encode([image, gain * image + 1], preprocess=False).embedding
        assert torch.equal(rows[0], rows[1])
        other = images(2, seed=4)[0]
        rows = encoder.encode([image, other], masks=[blobs()] * 2, preprocess=False).embedding
        assert torch.equal(rows[0], rows[1])

    def test_listens_to_the_mask(self):
        encoder = zoo.load(f"mask-only:{VIT}")
        masks = [blobs(count=1), blobs(count=3)]
        rows = encoder.encode(images(1, 1), masks=masks, preprocess=False).embedding
        assert not torch.allclose(rows[0], rows[1], **CLOSE)

    @pytest.mark.parametrize("mask", [np.zeros((64, 64), int), np.ones((64, 64), int), None])
    def test_nothing_or_one_object_gives_finite_numbers(self, mask, chadavit):
        black = np.zeros((2, 64, 64), np.float32)
        for inner in (chadavit, VIT):
            encoder = zoo.load(f"mask-only:{inner}")
            row = encoder.encode([black], masks=[mask], preprocess=False).embedding
            assert row.isfinite().all()
            assert row.shape[0] == 1

    def test_masks_are_prepared_with_their_image(self):
        mask = blobs(128, 5)
        encoder = zoo.load(f"mask-only:{VIT}", preprocessing=zoo.Preprocessing(resize=64, crop=64))
        pixels = np.zeros((1, 128, 128), np.uint8)
        found = encoder.encode([pixels], masks=[mask]).embedding
        small = (mask[1::2, 1::2] > 0).astype(np.float32)[None]  # sides are even: corners coincide
        expected = zoo.load(VIT).encode([small], preprocess=False).embedding
        torch.testing.assert_close(found, expected, **CLOSE)

    def test_tokens_and_layers_are_of_the_mask(self, chadavit):
        encoder = zoo.load(f"mask-only:{chadavit}")
        found = encoder.encode(images(3), preprocess=False, tokens=True, layer=1)
        assert found.tokens.shape[0] == 16
        with pytest.raises(ValueError, match=r"does not have the output .channels"):
            encoder.encode(images(3), preprocess=False, channels=True)


@pytest.mark.parametrize("family", ["mask-only", "one-channel"])
class TestRecord:
    def test_is_the_record_of_the_encoder_in_other_clothes(self, family):
        base = zoo.plugin.get_spec("chadavit-idrcell100k")
        spec = zoo.plugin.get_spec(f"{family}:chadavit-idrcell100k")
        assert spec.role == "control"
        assert spec.control == {"mask-only": "structural", "one-channel": "ablation"}[family]
        assert (spec.weights, spec.preprocessing) == (base.weights, base.preprocessing)
        assert (spec.licence, spec.citation) == (base.licence, base.citation)
        assert (spec.trained_on, spec.seeded) == (base.trained_on, False)
        assert spec.embedding_size == base.embedding_size
        assert spec.channels == (1, None)
        assert zoo.plugin.get_spec(spec.twin).seeded
        assert spec.options["encoder"] == base.name
        assert spec.options["encoder depth"] == 12

    def test_an_untrained_encoder_stays_one(self, family):
        spec = zoo.plugin.get_spec(f"{family}:chadavit-untrained")
        assert spec.seeded
        assert spec.control == {"mask-only": "structural", "one-channel": "untrained"}[family]
        assert spec.twin is None
        assert spec.weights is None

    def test_seeds_decide_as_they_do_for_the_encoder(self, family):
        rows = {
            seed: zoo.load(f"{family}:{VIT}", seed=seed)
            .encode(images(2), masks=[blobs()], preprocess=False)
            .embedding
            for seed in (0, 1)
        }
        assert not torch.allclose(rows[0], rows[1], **CLOSE)
        encoder = zoo.load(f"{family}:{VIT}", seed=1)
        assert encoder.seed == 1
        again = encoder.encode(images(2), masks=[blobs()], preprocess=False).embedding
        assert torch.equal(again, rows[1])
        with pytest.raises(ValueError, match="is not seeded"):
            zoo.load(f"{family}:texture-mean", seed=1)

    def test_weights_go_to_the_encoder(self, family, trained):
        name = f"timm:test_vit.r160_in1k@{COMMIT}"
        encoder = zoo.load(f"{family}:{name}", weights=trained)
        assert encoder.weights_source == str(trained)
        assert len(encoder.weights_sha256) == 64
        plain = zoo.load(name, weights=trained)
        given = (blobs() > 0).astype(np.float32)[None]
        found = encoder.encode([given], masks=[blobs()], preprocess=False).embedding
        expected = plain.encode([given], preprocess=False).embedding
        torch.testing.assert_close(found, expected, **CLOSE)

    def test_without_weights_there_is_no_encoder_but_the_same_error(self, family, tmp_path):
        name = f"{family}:chadavit-idrcell100k"
        twin = zoo.plugin.get_spec(name).twin
        with pytest.raises(errors.WeightsNotFoundError, match=f"untrained network is '{twin}'"):
            zoo.load(name, weights=tmp_path / "none.safetensors")
        with pytest.raises(errors.WeightsNotFoundError, match="without its weights"):
            zoo.plugin.build(zoo.plugin.get_spec(name))
        with pytest.raises(ValueError, match="has no weights to replace"):
            zoo.load(f"{family}:{VIT}", weights=tmp_path / "none.safetensors")

    def test_weights_of_another_network_are_refused(self, family, tmp_path):
        save_file({"some.tensor": torch.ones(3)}, tmp_path / "other.safetensors")
        with pytest.raises(errors.ArchitectureMismatchError, match=r"missing"):
            zoo.load(f"{family}:chadavit-idrcell100k", weights=tmp_path / "other.safetensors")

    def test_preprocessing_and_place_are_those_of_both(self, family):
        record = zoo.Preprocessing(scaling="instance", resize=None, crop=None)
        encoder = zoo.load(f"{family}:{VIT}", preprocessing=record, dtype="bfloat16")
        for each in (encoder, encoder.inner):
            assert each.spec.preprocessing == record
            assert each.dtype == torch.bfloat16
            assert {p.dtype for p in each.model.parameters()} == {torch.bfloat16}
        assert encoder.encode(images(2)).embedding.dtype == torch.float32
        assert encoder.provenance()["options"]["encoder"] == VIT

    @pytest.mark.parametrize("inner", ["chadavit", VIT, "pixel-statistics-mean"])
    def test_keeps_the_promises(self, family, inner, chadavit):
        inner = chadavit if inner == "chadavit" else inner
        checks = check_encoder(f"{family}:{inner}")
        assert not [c for c in checks if c.failed]

    def test_an_encoder_that_needs_types_still_needs_them(self, family):
        encoder = zoo.load(f"{family}:cell-structure-typed")
        with pytest.raises(errors.ImageError, match="image 0 has no object types"):
            encoder.encode(images(2), preprocess=False)
        found = encoder.encode(
            images(2), masks=[blobs()], types=[[0, 1, 1]], preprocess=False
        ).embedding
        names = zoo.plugin.get_spec("cell-structure-typed").columns
        assert found[0, names.index("share of type 1")] == pytest.approx(2 / 3)

    @pytest.mark.parametrize("inner", ["chadavit-untraind", "untrained:resnet19", "nothing:at-all"])
    def test_unknown_encoders_are_unknown(self, family, inner):
        with pytest.raises(errors.UnknownNameError) as direct:
            zoo.plugin.get_spec(inner)
        with pytest.raises(errors.UnknownNameError) as caught:
            zoo.plugin.get_spec(f"{family}:{inner}")
        assert str(caught.value) == str(direct.value)
        with pytest.raises(errors.UnknownNameError, match="needs a name after the colon"):
            zoo.plugin.get_spec(f"{family}:")

    def test_encoders_that_never_take_one_channel_are_refused(self, family, monkeypatch):
        colours = zoo.plugin.EncoderSpec(name="rgb", builder="m:f", summary="s", channels=(3, 3))
        monkeypatch.setattr(zoo.plugin, "get_spec", lambda name: colours)
        resolve = {"mask-only": ablation_families.resolve_mask_only}.get(
            family, ablation_families.resolve_one_channel
        )
        with pytest.raises(
            errors.UnknownNameError, match=rf"no {family}:rgb: rgb takes 3 channels"
        ):
            resolve("rgb")

    def test_it_is_listed_without_torch(self, family):
        code = (
            f"import sys; from zoo.plugins import controls; import zoo\n"
            f"assert {family!r} in {{f.scheme for f in controls.zoo_encoder_families()}}\n"
            f"assert len(zoo.plugin.get_spec('{family}:chadavit-untrained').summary) < 90\n"
            "sys.exit('imported torch' if 'torch' in sys.modules else 0)"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


class TestSlashes:
    @pytest.mark.parametrize(
        ("text", "inner", "join"),
        [
            ("chadavit-untrained", "chadavit-untrained", "mean"),
            ("chadavit-untrained/mean", "chadavit-untrained", "mean"),
            ("chadavit-untrained/concat", "chadavit-untrained", "concat"),
            (f"{VIT}/concat", VIT, "concat"),
            (f"{VIT}/concat/mean", f"{VIT}/concat", "mean"),
            (f"{VIT}/mean/concat", f"{VIT}/mean", "concat"),
            (f"timm:test_vit.r160_in1k/concat@{COMMIT}", None, "mean"),
            (f"timm:test_vit.r160_in1k/mean@{COMMIT}/concat", None, "concat"),
            (f"mask-only:{VIT}/concat", f"mask-only:{VIT}", "concat"),
        ],
    )
    def test_the_last_one_belongs_to_one_channel(self, text, inner, join):
        spec = zoo.plugin.get_spec(f"one-channel:{text}")
        assert spec.name == f"one-channel:{text}"
        assert spec.options["join"] == join
        assert spec.options["encoder"] == (inner or text.removesuffix("/concat"))

    def test_a_mask_only_name_is_the_encoder_whole(self):
        assert zoo.plugin.get_spec(f"mask-only:{VIT}/concat").options["encoder"] == f"{VIT}/concat"

    @pytest.mark.parametrize("ending", ["mean", "concat"])
    def test_a_folder_called_so_must_be_told_apart(self, golden, tmp_path, ending):
        folder = tmp_path / ending
        shutil.copytree(golden, folder)
        name = f"one-channel:chadavit:{folder}"
        with pytest.raises(
            errors.UnknownNameError, match=rf"ends in /{ending}.*only .* is an encoder"
        ):
            zoo.plugin.get_spec(name)
        assert zoo.plugin.get_spec(f"{name}/mean").options["encoder"] == f"chadavit:{folder}"

    def test_other_endings_belong_to_the_encoder(self):
        with pytest.raises(errors.UnknownNameError, match="ends in /max"):
            zoo.plugin.get_spec("one-channel:untrained:resnet18/max")
