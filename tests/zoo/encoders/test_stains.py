"""Stains travel from the image to the channels of an encoder, or are refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import zoo
from zoo._cli import main
from zoo._images.stains import TABLE, meanings
from zoo.errors import ImageError

SLOTS = ("DNA", "ER", "RNA", "AGP", "Mito")


class Placed(zoo.Encoder):
    """Weighs each channel by its place."""

    uses_channel_index = True

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        index = batch.channel_index
        if index is None:
            index = torch.cat([torch.arange(c) for c in batch.counts.tolist()])
        means = batch.planes.mean((1, 2)) * (1 + index)
        rows = [part.sum().reshape(1) for part in means.split(batch.counts.tolist())]
        return zoo.Features(torch.stack(rows), batch.counts)


class Deaf(Placed):
    def places_of(self, stains, item):
        return None


def spec(**fields):
    given = {"name": "placed", "builder": "m:f", "summary": "s", "slots": SLOTS, "channels": (1, 5)}
    return zoo.plugin.EncoderSpec(**{**given, **fields})


@pytest.fixture
def encoder():
    return Placed(spec())


PLANES = np.random.default_rng(0).random((5, 64, 64)).astype(np.float32)


def embed(encoder, stains, planes=PLANES, **asked):
    given = planes[: len(stains)] if stains else planes
    return encoder.encode([given], stains=[stains], **asked).embedding


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Hoechst 33342", {"DNA"}),
        ("hoechst", {"DNA"}),
        ("OrigDNA", {"DNA"}),
        ("DAPI (405)", {"DNA"}),
        ("DRAQ5", {"DNA"}),
        ("Nuclei", {"DNA"}),
        ("Concanavalin A / Alexa 488", {"ER"}),
        ("ER", {"ER"}),
        ("SYTO 14", {"RNA"}),
        ("MitoTracker Deep Red", {"Mito"}),
        ("mito", {"Mito"}),
        ("WGA", {"AGP", "Golgi", "membrane"}),
        ("Phalloidin-568", {"AGP", "actin"}),
        ("alpha-tubulin", {"tubulin"}),
        ("Microtubules", {"tubulin"}),
        ("Bright Field", {"brightfield"}),
        ("FISH probe", set()),
        ("channel 3", set()),
        ("water", set()),
        ("mRNA-FISH", set()),
        ("siRNA", set()),
        ("ERSytoBleed", {"ER"}),
    ],
)
def test_the_table_knows_what_names_mean(name, wanted):
    assert meanings(name) == wanted


def test_every_name_of_the_table_means_its_row():
    for meaning, names in TABLE.items():
        for name in (meaning, *names):
            assert meaning in meanings(name)
            assert meaning in meanings(name.upper())


def test_channels_go_to_the_place_of_their_stain_in_any_order(encoder):
    wanted = embed(encoder, SLOTS)
    names = ("Hoechst 33342", "ConA", "SYTO14", "phalloidin", "MitoTracker")
    torch.testing.assert_close(embed(encoder, names), wanted)
    order = [3, 0, 4, 2, 1]
    turned = embed(encoder, [names[i] for i in order], PLANES[order])
    torch.testing.assert_close(turned, wanted)
    assert not torch.allclose(embed(encoder, names, PLANES[order]), wanted)
    alone = embed(encoder, ("Mito",))
    torch.testing.assert_close(alone, 5 * encoder.encode([PLANES[:1]]).embedding)


def test_images_without_stains_keep_their_order_and_an_index_goes_first(encoder):
    torch.testing.assert_close(embed(encoder, None), embed(encoder, SLOTS))
    turned = embed(encoder, SLOTS, channel_index=[[4, 3, 2, 1, 0]])
    torch.testing.assert_close(turned, embed(encoder, SLOTS[::-1]))


def test_a_packed_batch_is_placed_too(encoder):
    planes = torch.from_numpy(PLANES[:2])
    batch = zoo.ImageBatch(planes, torch.tensor([2]), (("Mito", "DNA"),))
    found = encoder.encode(batch, preprocess=False).embedding
    wanted = encoder.encode([PLANES[:2]], channel_index=[[4, 0]], preprocess=False).embedding
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("stains", "words"),
    [
        (("FISH",), "image 0: the stain 'FISH' has no place in placed, which takes DNA, ER"),
        (("brightfield",), "say where it goes with --map brightfield=SLOT"),
        (("DNA", "Hoechst"), "'DNA' and 'Hoechst' both belong into the slot 'DNA'"),
        (("DNA", "DNA"), "both belong"),
        (("nuclear RNA",), "could be 'DNA' or 'RNA' of placed"),
    ],
)
def test_what_cannot_be_placed_is_refused(encoder, stains, words):
    with pytest.raises(ImageError, match=words):
        embed(encoder, stains)


def test_a_mapping_says_where_a_stain_goes_and_is_recorded(encoder):
    encoder.with_channel_map({"fish": "mito", "Hoechst": "ER"})
    assert encoder.channel_map == {"fish": "Mito", "Hoechst": "ER"}
    assert encoder.provenance()["channel_map"] == {"fish": "Mito", "Hoechst": "ER"}
    torch.testing.assert_close(
        embed(encoder, ("FISH", "hoechst")), embed(Placed(spec()), ("Mito", "ER"))
    )
    with pytest.raises(ImageError, match="'ConA' and 'Hoechst' both belong into the slot 'ER'"):
        embed(encoder, ("ConA", "Hoechst"))


@pytest.mark.parametrize(
    ("mapping", "words"),
    [({"FISH": "Mitos"}, "FISH=Mitos names no channel of placed.*'Mito'"), ({"": "ER"}, "=ER")],
)
def test_a_mapping_must_name_a_channel(encoder, mapping, words):
    with pytest.raises(ValueError, match=words):
        encoder.with_channel_map(mapping)
    with pytest.raises(ValueError, match="has no named channels"):
        zoo.load("constant", device="cpu").with_channel_map({"a": "b"})


def test_a_record_may_know_further_names():
    encoder = Placed(spec(stain_synonyms={"FISH": "RNA"}))
    torch.testing.assert_close(embed(encoder, ("fish",)), embed(encoder, ("RNA",)))
    with pytest.raises(ValueError, match="'Nile'"):
        spec(stain_synonyms={"x": "Nile"})
    with pytest.raises(ValueError, match="must differ"):
        spec(slots=("DNA", "dna"))


def test_embeddings_record_what_went_where_and_name_the_image(encoder):
    images = [
        zoo.Image(PLANES[:2], ("Hoechst", "ConA")),
        zoo.Image(PLANES[:3], ("Mito", "DNA", "WGA")),
    ]
    found = zoo.embed(images, encoder)
    assert found.provenance["channels_by_stain"] == {
        "Hoechst": "DNA",
        "ConA": "ER",
        "Mito": "Mito",
        "DNA": "DNA",
        "WGA": "AGP",
    }
    assert found.provenance["slots"] == "DNA, ER, RNA, AGP, Mito"
    plain = zoo.embed([PLANES], encoder)
    assert "by their order" in plain.provenance["channels_by_stain"]
    images.append(zoo.Image(PLANES[:1], ("FISH",)))
    with pytest.raises(ImageError, match="'FISH' has no place"):
        zoo.embed(images, encoder)
    from zoo._data.sources import open_images

    some = zoo.embed(open_images(images), encoder, on_error="skip")
    assert len(some) == 2
    assert "'FISH' has no place" in some.failures[0][1]


def test_an_evaluation_places_channels_for_the_encoder_and_its_twin(golden):
    rng = np.random.default_rng(0)
    treated = np.tile([0, 1], 8)
    table = pd.DataFrame({"treated": treated, "plate": np.repeat(list("ABCD"), 4)})
    pixels = rng.poisson(20 + 30 * treated[:, None, None, None], (16, 4, 32, 32)).astype(np.uint8)
    stains = ("protein", "Hoechst", "FISH", "ER")
    data = zoo.Dataset("mine", table, lambda i: zoo.Image(pixels[i], stains))
    encoder = zoo.load(f"subcell:{golden.parent / 'subcell-tiny'}", device="cpu")
    asked = {"label": "treated", "group": "plate", "controls": ["constant"], "permutations": 19}
    with pytest.raises(ImageError, match="'FISH' has no place"):
        zoo.evaluate(encoder, data, **asked)
    encoder.with_channel_map({"FISH": "microtubules"})
    result = zoo.evaluate(encoder, data, **asked, cache=False)
    placed = {"protein": "protein", "Hoechst": "nucleus", "FISH": "microtubules", "ER": "ER"}
    assert result.embeddings.provenance["channels_by_stain"] == placed
    twin = result.contenders[encoder.spec.twin][1][0]
    assert twin["channels_by_stain"] == placed
    assert twin["channel_map"] == {"FISH": "microtubules"}


def test_the_kit_checks_that_channels_are_placed_by_name():
    checks = zoo.testing.check_encoder(Placed(spec(embedding_size=1)))
    assert not [c for c in checks if c.failed]

    with pytest.raises(AssertionError, match=r"fails 1 of.*\nstains:.*under their names"):
        zoo.testing.check_encoder(Deaf(spec(embedding_size=1)))


def test_subcell_takes_its_channels_by_name(golden):
    encoder = zoo.load(f"subcell:{golden.parent / 'subcell-tiny'}", device="cpu")
    planes = PLANES[:4, :32, :32]
    wanted = encoder.encode([planes], preprocess=False).embedding
    names = ("tubulin", "endoplasmic reticulum", "DAPI", "protein")
    order = [2, 3, 1, 0]
    for given in (names, "rybg", ("red", "yellow", "blue", "green")):
        stains = [[given[i] for i in order]]
        found = encoder.encode([planes[order]], stains=stains, preprocess=False).embedding
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ImageError, match="each of the 4 channels"):
        encoder.encode([planes], channel_index=[[0, 1, 2, 2]], preprocess=False)
    with pytest.raises(ImageError, match="'AGP' has no place"):
        encoder.encode([planes], stains=[("DNA", "ER", "AGP", "protein")], preprocess=False)


@pytest.mark.parametrize("arguments", [["--map", "FISH"], ["--map", "=DNA"], ["--map", "a="]])
def test_the_option_wants_a_stain_and_a_channel(arguments):
    done = CliRunner().invoke(main, ["embed", "x", "-e", "constant", "-o", "y.csv", *arguments])
    assert done.exit_code == 2
    assert "is not STAIN=SLOT" in done.output


def test_the_option_maps_stains(golden, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for k, stain in enumerate(("FISH", "ER", "DAPI", "protein")):
        tifffile.imwrite(tmp_path / f"{stain}.tif", (PLANES[k] * 4000).astype(np.uint16))
    row = ",".join(f"{s}.tif" for s in ("DAPI", "ER", "FISH", "protein"))
    (tmp_path / "t.csv").write_text(f"image_DAPI,image_ER,image_FISH,image_protein\n{row}\n")
    command = ["embed", str(tmp_path / "t.csv"), "-e", f"subcell:{golden.parent / 'subcell-tiny'}"]
    command += ["-o", str(tmp_path / "out.csv"), "--device", "cpu"]
    done = CliRunner().invoke(main, command)
    assert "'FISH' has no place" in done.output
    done = CliRunner().invoke(main, [*command, "--map", "FISH=microtubules"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, [*command, "--map", "FISH=tubes"])
    assert "FISH=tubes names no channel" in done.output
