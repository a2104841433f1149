"""timm networks as encoders of single channels, against timm itself; no network is asked."""

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from zoo.plugins.encoders import timm_encoder, timm_specs

import zoo
from zoo import errors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNTRAINED = ["untrained:test_vit", "untrained:test_resnet"]
# Convolutions and matrix products of another batch size are summed in another order.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def images(*counts, side=64):
    return [
        np.random.default_rng(i).random((count, side, side), dtype=np.float32)
        for i, count in enumerate(counts)
    ]


def encode(name, planes, *, load=None, **arguments):
    return zoo.load(name, **load or {}).encode(planes, preprocess=False, **arguments)


def by_timm(network, image):
    """Each channel as a grey RGB image, normalised by the network's own record."""
    record = network.pretrained_cfg
    rows = []
    for plane in torch.from_numpy(image):
        rgb = torch.stack(
            [(plane - m) / s for m, s in zip(record["mean"], record["std"], strict=True)]
        )
        with torch.inference_mode():
            rows.append(network.eval()(rgb[None])[0])
    return torch.stack(rows)


@pytest.fixture(autouse=True)
def no_way_out(monkeypatch):
    """Whatever timm could fetch or unpickle by itself fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError("timm went its own way")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torch.load", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


def saved(path, network):
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return path


def scrambled(name, **arguments):
    """A network whose every tensor differs from what timm initialises it with."""
    network = timm.create_model(name, **arguments).eval()
    draw = torch.Generator().manual_seed(5)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=draw) * 0.2 + 0.01)
    return network


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; from zoo.plugins.encoders import timm_specs; "
        "schemes = [f.scheme for f in timm_specs.FAMILIES]; "
        "heavy = {'torch', 'timm', 'skimage', 'numpy'} & set(sys.modules); "
        "sys.exit(f'{heavy} {schemes}' if heavy or schemes != ['untrained', 'timm'] else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def initial(name):
    """What makes an untrained ResNet one: timm multiplies its residual branches by 0 otherwise."""
    return {"zero_init_last": False} if "resnet" in name else {}


class TestUntrained:
    @pytest.mark.parametrize("name", UNTRAINED)
    def test_mean_of_what_timm_gives_each_channel(self, name):
        given = images(1, 3, 2)
        torch.manual_seed(0)
        network = timm.create_model(name.partition(":")[2], num_classes=0, **initial(name))
        expected = torch.stack([by_timm(network, image).mean(0) for image in given])
        found = encode(f"{name}/mean", [given[0], *given[1:]]).embedding
        torch.testing.assert_close(found, expected, **CLOSE)
        assert torch.equal(encode(name, given).embedding, found)

    @pytest.mark.parametrize("name", UNTRAINED)
    def test_joined_is_channel_after_channel(self, name):
        given = images(3, 3)
        torch.manual_seed(7)
        network = timm.create_model(name.partition(":")[2], num_classes=0, **initial(name))
        expected = torch.stack([by_timm(network, image).flatten() for image in given])
        found = encode(f"{name}/concat", given, load={"seed": 7}).embedding
        torch.testing.assert_close(found, expected, **CLOSE)

    def test_joined_refuses_other_counts(self):
        with pytest.raises(errors.ImageError, match="image 1 has 3"):
            encode("untrained:test_vit/concat", images(2, 3))

    def test_gives_channels_on_request(self):
        given = images(2, 1)
        features = encode("untrained:test_vit", given, channels=True)
        assert features.channels.shape == (3, features.embedding.shape[1])
        torch.testing.assert_close(features.channels[:2].mean(0), features.embedding[0])
        torch.testing.assert_close(features.channels[2], features.embedding[1])

    def test_seed_decides(self):
        given = images(1)
        first, again, other = (
            encode("untrained:test_vit", given, load={"seed": s}).embedding for s in (1, 1, 2)
        )
        assert torch.equal(first, again)
        assert not torch.allclose(first, other)

    def test_leaves_the_global_generator_alone(self):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        zoo.load("untrained:test_vit", seed=11)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("name", UNTRAINED)
    def test_other_images_in_the_batch_do_not_matter(self, name):
        given = images(2, 1, 3, 2)
        together = encode(name, given).embedding
        alone = torch.cat([encode(name, [image]).embedding for image in given])
        turned = encode(name, given[::-1], batch_planes=3).embedding.flip(0)
        torch.testing.assert_close(together, alone, **CLOSE)
        torch.testing.assert_close(together, turned, **CLOSE)

    def test_all_planes_go_through_at_once(self):
        encoder, seen = zoo.load("untrained:test_resnet"), []
        encoder.model.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
        encoder.encode(images(2, 1, 3), preprocess=False)
        assert seen == [(6, 64, 64)]

    @pytest.mark.parametrize("name", UNTRAINED)
    def test_degenerate_images_give_finite_numbers(self, name):
        black = np.zeros((2, 64, 64), np.float32)
        pixel = black.copy()
        pixel[1, 5, 5] = 1
        given = [black, black + 0.1, pixel, black + 1]
        assert torch.isfinite(encode(name, given).embedding).all()

    @pytest.mark.parametrize("name", UNTRAINED)
    @pytest.mark.parametrize("side", [16, 48, 224])
    def test_takes_images_of_any_fitting_size(self, name, side):
        embedding = encode(name, images(1, side=side)).embedding
        assert torch.isfinite(embedding).all()
        assert len(embedding[0]) == encode(name, images(1)).embedding.shape[1]

    def test_another_size_is_refused_with_the_one_that_fits(self):
        with pytest.raises(errors.ImageError, match=r"images are 30 × 30 .*made for 160 × 160"):
            encode("untrained:test_vit", images(1, side=30))

    def test_fixed_size_is_refused_with_the_one_that_fits(self):
        if not timm.is_model("test_maxvit"):
            pytest.skip("this timm has no small network of a fixed size")
        with pytest.raises(errors.ImageError, match=r"images are 64 × 64 .*made for 160 × 160"):
            encode("untrained:test_maxvit", images(1))
        assert encode("untrained:test_maxvit", images(1, side=160)).embedding.ndim == 2

    def test_takes_whole_images_by_its_record(self):
        image = np.random.default_rng(0).integers(0, 256, (2, 300, 280), dtype=np.uint8)
        assert zoo.load("untrained:test_resnet").encode([image]).embedding.shape[0] == 1

    def test_record(self):
        spec = timm_specs.resolve_untrained("test_vit/concat")
        assert (spec.role, spec.control, spec.seeded) == ("control", "untrained", True)
        assert spec.preprocessing == zoo.Preprocessing()
        assert spec.weights is None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("resnet81", "'resnet18'"),
            ("resnet18.a1_in1k", "use 'untrained:resnet18'"),
            ("resnet18/sum", "'/mean' or '/concat'"),
            ("resnet18/", "'/mean' or '/concat'"),
            ("hf-hub:timm/resnet18", "'/mean' or '/concat'"),
        ],
    )
    def test_unknown_names(self, text, said):
        with pytest.raises(errors.UnknownNameError, match=said):
            zoo.load(f"untrained:{text}")


class TestColours:
    @pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
    def test_the_three_channels_are_one_input(self, name):
        network = timm_encoder.create(name, 0)
        record = network.pretrained_cfg
        given = images(3, 3)
        rgb = torch.stack([torch.from_numpy(image) for image in given])
        shape = (1, 3, 1, 1)
        rgb = (rgb - torch.tensor(record["mean"]).view(shape)) / torch.tensor(record["std"]).view(
            shape
        )
        with torch.inference_mode():
            expected = network.eval()(rgb)
        found = encode(f"untrained:{name}/rgb", given)
        torch.testing.assert_close(found.embedding, expected, **CLOSE)
        swapped = encode(f"untrained:{name}/rgb", [image[::-1].copy() for image in given])
        assert not torch.allclose(swapped.embedding, expected, atol=1e-3)

    def test_other_numbers_of_channels_are_refused(self):
        with pytest.raises(errors.ImageError, match="2 channels, but untrained:test_vit/rgb"):
            encode("untrained:test_vit/rgb", images(2))

    def test_there_are_no_single_channels(self):
        with pytest.raises(ValueError, match="channels"):
            encode("untrained:test_vit/rgb", images(3), channels=True)


class TestPretrained:
    def test_record(self):
        spec = timm_specs.resolve_pretrained("vit_small_patch14_dinov2.lvd142m/concat")
        assert spec.name == "timm:vit_small_patch14_dinov2.lvd142m/concat"
        assert spec.weights == zoo.plugin.Weights(
            repo="timm/vit_small_patch14_dinov2.lvd142m",
            latest=True,
            filename="model.safetensors",
        )
        assert (spec.role, spec.control, spec.seeded) == ("encoder", None, False)
        assert spec.twin == "untrained:vit_small_patch14_dinov2/concat"
        assert spec.licence == "apache-2.0"
        assert spec.preprocessing == zoo.Preprocessing()
        assert timm_specs.resolve_untrained("vit_small_patch14_dinov2/concat").name == spec.twin

    def test_given_commit_is_taken(self):
        spec = timm_specs.resolve_pretrained(f"resnet18.a1_in1k@{COMMIT[::-1]}")
        assert spec.weights.revision == COMMIT[::-1]
        assert spec.twin == "untrained:resnet18/mean"

    def test_without_tag_the_record_says_which_one(self):
        assert timm_specs.resolve_pretrained("resnet18").options["model"] == "resnet18.a1_in1k"

    @pytest.mark.parametrize(
        ("text", "error", "said"),
        [
            ("resnet18.a1_in2k", errors.UnknownNameError, "'resnet18.a1_in1k'"),
            ("resnet18.a1_in1k/sum", errors.UnknownNameError, "'/mean' or '/concat'"),
            ("resnet18.a1_in1k@main", errors.WeightsError, "40-hex"),
            ("resnet18.a1_in1k@", errors.WeightsError, "40-hex"),
            ("legacy_seresnet18.in1k", errors.WeightsNotFoundError, "pickle"),
        ],
    )
    def test_unknown_names(self, text, error, said):
        with pytest.raises(error, match=said):
            zoo.load(f"timm:{text}")

    @pytest.mark.parametrize(
        "name", ["test_vit.r160_in1k", "test_resnet.r160_in1k", "test_convnext.r160_in1k"]
    )
    @pytest.mark.parametrize("classes", [1000, 10, 0])
    def test_file_decides_every_number(self, tmp_path, name, classes):
        """Files with the classifier of the record, with another one, and with none."""
        network = scrambled(name, num_classes=classes)
        path = saved(tmp_path / "model.safetensors", network)
        network.reset_classifier(0)
        given = images(1, 2, side=160)
        expected = torch.stack([by_timm(network, image).mean(0) for image in given])
        encoder = zoo.load(f"timm:{name}", weights=path)
        found = encoder.encode(given, preprocess=False).embedding
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        for key, value in encoder.model.backbone.state_dict().items():
            if value.is_floating_point():
                assert torch.equal(value, network.state_dict()[key]), key

    def test_a_local_file_needs_no_hub(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        path = saved(tmp_path / "model.safetensors", scrambled("test_vit.r160_in1k"))
        name = "timm:test_vit.r160_in1k/concat"
        assert zoo.load(name, weights=path).weights_source == str(path)
        assert "latest" in str(zoo.encoder_info(name).weights)
        with pytest.raises(errors.WeightsNotFoundError, match="test_vit"):
            zoo.load(name)

    @pytest.mark.parametrize("lost", ["blocks.0.norm1.weight", "pos_embed", "norm.bias"])
    def test_missing_tensor_is_refused(self, tmp_path, lost):
        path = saved(tmp_path / "model.safetensors", scrambled("test_vit"))
        state = load_file(path)
        del state[lost]
        save_file(state, path)
        with pytest.raises(errors.ArchitectureMismatchError, match=f"1 missing: {lost}"):
            zoo.load("timm:test_vit.r160_in1k", weights=path)

    def test_missing_tensor_is_refused_where_timm_never_minds(self, tmp_path):
        """timm loads DLA leniently, whatever is asked for."""
        network = timm.create_model("dla46_c", num_classes=0)
        state = network.state_dict()
        lost = next(key for key in state if key.endswith("conv1.weight"))
        del state[lost]
        save_file(state, tmp_path / "model.safetensors")
        with pytest.raises(errors.ArchitectureMismatchError, match=lost):
            timm_encoder.load_backbone(network, tmp_path / "model.safetensors")

    def test_unexpected_and_misshapen_tensors_are_refused(self, tmp_path):
        path = saved(tmp_path / "model.safetensors", scrambled("test_vit"))
        state = load_file(path)
        save_file({**state, "blocks.9.norm.weight": torch.ones(3)}, path)
        with pytest.raises(errors.ArchitectureMismatchError, match=r"1 unexpected: blocks\.9"):
            zoo.load("timm:test_vit.r160_in1k", weights=path)
        # timm would resample these positions to the size of the network.
        save_file({**state, "pos_embed": torch.ones(1, 26, state["pos_embed"].shape[2])}, path)
        with pytest.raises(errors.ArchitectureMismatchError, match=r"shape: pos_embed \(1, 26"):
            zoo.load("timm:test_vit.r160_in1k", weights=path)
        saved(path, scrambled("test_resnet"))
        with pytest.raises(
            errors.ArchitectureMismatchError, match=r"\d+ missing: .*\d+ unexpected"
        ):
            zoo.load("timm:test_vit.r160_in1k", weights=path)

    def test_counters_of_training_may_be_missing(self, tmp_path):
        network = scrambled("test_resnet", num_classes=0)
        state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
        save_file(state, tmp_path / "model.safetensors")
        empty = timm_encoder.create("test_resnet", 0)
        timm_encoder.load_backbone(empty, tmp_path / "model.safetensors")
        assert torch.equal(empty.conv1[0].weight, network.conv1[0].weight)

    def test_layout_of_another_library_is_converted_as_timm_does(self, tmp_path):
        """OpenCLIP keeps a timm network behind a prefix."""
        network = scrambled("test_vit", num_classes=0)
        state = {f"visual.trunk.{k}": v for k, v in network.state_dict().items()}
        path = tmp_path / "model.safetensors"
        save_file(state, path)
        empty = timm_encoder.create("test_vit", 0)
        timm_encoder.load_backbone(empty, path)
        for key, value in empty.state_dict().items():
            assert torch.equal(value, network.state_dict()[key]), key
        del state["visual.trunk.norm.weight"]
        save_file(state, path)
        with pytest.raises(errors.ArchitectureMismatchError):
            timm_encoder.load_backbone(empty, path)

    def test_pickle_under_a_safetensors_name_is_refused(self, tmp_path):
        path = tmp_path / "model.safetensors"
        torch.save({"cls_token": torch.ones(1)}, path)
        with pytest.raises(errors.IntegrityError, match="unpickle"):
            zoo.load("timm:test_vit.r160_in1k", weights=path)

    def test_no_weights_no_encoder(self):
        spec = timm_specs.resolve_pretrained("test_vit.r160_in1k")
        with pytest.raises(errors.WeightsNotFoundError):
            timm_encoder.build(spec, weights=None, seed=0)

    def test_leaves_the_global_generator_alone(self, tmp_path):
        path = saved(tmp_path / "model.safetensors", scrambled("test_vit"))
        torch.manual_seed(3)
        before = torch.get_rng_state()
        zoo.load("timm:test_vit.r160_in1k", weights=path)
        assert torch.equal(torch.get_rng_state(), before)

    def test_positions_are_resampled_for_other_sizes(self, tmp_path):
        path = saved(tmp_path / "model.safetensors", scrambled("test_vit"))
        encoder = zoo.load("timm:test_vit.r160_in1k/concat", weights=path)
        sized = timm.create_model(
            "test_vit",
            num_classes=0,
            img_size=64,
            pretrained=True,
            pretrained_cfg_overlay={"file": str(path)},
        )
        given = images(2)
        found = encoder.encode(given, preprocess=False).embedding
        expected = by_timm(sized, given[0]).flatten()[None]
        torch.testing.assert_close(found, expected, **CLOSE)


def test_an_untrained_resnet_has_all_its_branches():
    encoder = zoo.load("untrained:resnet18")
    scales = [p for n, p in encoder.model.named_parameters() if n.endswith("bn2.weight")]
    assert len(scales) == 8
    assert all(bool((scale == 1).all()) for scale in scales)
