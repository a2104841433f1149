"""Embedding of datasets: order, ragged counts, bad items, and the files that come out."""

import json
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
import timm
import torch

import zoo
from zoo import errors
from zoo._data.dataset import Dataset
from zoo._data.sources import open_images
from zoo._embedding import embed as module
from zoo._embedding.embed import embed, embed_many
from zoo._embedding.embeddings import Embeddings, check_output
from zoo._images.image import Image

PLAIN = zoo.Preprocessing(scaling="none", resize=None, crop=None, min_side=4)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Tests must not find each other's rows."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ZOO_CACHE", str(folder))
    return folder


class Means(zoo.Encoder):
    """Mean of each image, its largest pixel and its number of channels: easy to know beforehand."""

    def __init__(self, *, name="means", preprocessing=PLAIN, channels=(1, None), joins=False):
        spec = zoo.plugin.EncoderSpec(
            name=name, builder="m:f", summary="s", preprocessing=preprocessing, channels=channels
        )
        super().__init__(spec)
        self.requires_equal_channels = joins
        self.stains = []
        self.seen = 0

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        self.stains += batch.stains
        self.seen += len(batch)
        rows = [torch.stack([i.mean(), i.max(), torch.tensor(len(i))]) for i in batch.images()]
        return zoo.Features(torch.stack(rows), batch.counts)


class Broken(Means):
    """Gives a number that is none for images above a brightness."""

    def forward(self, batch, **_):
        features = super().forward(batch)
        features.embedding[features.embedding[:, 0] > 500] = torch.nan
        return features


def image(i, side=8):
    """Image i has 1 to 3 channels of the value i."""
    return Image(np.full((i % 3 + 1, side, side + i % 2), i, np.float32))


def dataset(images, **columns):
    """Items are images, or errors that reading them raises."""

    def read(i):
        if isinstance(images[i], BaseException):
            raise images[i]
        return images[i]

    names = [f"{i}.tif" for i in range(len(images))]
    return Dataset("plate", pd.DataFrame({"image": names, **columns}), read)


def expected(numbers):
    return [[i, i, i % 3 + 1] for i in numbers]


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 150])
def test_rows_are_in_the_order_of_the_items_however_many(count):
    images = [image(i) for i in range(count)]
    found = embed(dataset(images, dose=range(count)), Means())
    assert found.matrix.dtype == np.float32
    assert found.matrix.tolist() == expected(range(count))
    assert found.metadata["dose"].tolist() == list(range(count))
    assert len(found) == count
    assert found.failures == ()


def test_sizes_and_counts_may_differ_from_item_to_item():
    rng = np.random.default_rng(0)
    images = [
        Image(rng.integers(0, 4096, (c, h, w), dtype=np.uint16))
        for c, h, w in [(3, 30, 40), (1, 50, 20), (2, 30, 40), (6, 31, 31), (1, 50, 20)]
    ]
    encoder = zoo.load("pixel-statistics-mean")
    found = embed(dataset(images), encoder).matrix
    alone = [encoder.encode([m.pixels]).embedding[0].numpy() for m in images]
    assert np.array_equal(found, np.stack(alone))


def test_the_record_decides_the_preprocessing():
    pixels = np.zeros((1, 20, 20), np.uint8)
    pixels[0, 10:] = 200
    encoder = Means(preprocessing=zoo.Preprocessing(scaling="range"))
    found = embed(dataset([Image(pixels)]), encoder)
    assert found.matrix[0, 1] == pytest.approx(200 / 255, rel=1e-6)  # float32


def test_stains_reach_the_encoder():
    images = [Image(np.ones((2, 8, 8), np.float32), ("DNA", "ER")), Image(np.ones((1, 8, 8)))]
    encoder = Means()
    embed(dataset(images), encoder)
    assert sorted(encoder.stains, key=str) == [("DNA", "ER"), None]


def test_images_are_read_and_prepared_once_for_all_encoders(monkeypatch):
    reads, prepared = [], []
    images = [image(i) for i in range(5)]

    def read(i):
        reads.append(i)
        return images[i]

    monkeypatch.setattr(Means, "prepare", lambda self, pixels, item: (
        prepared.append(item) or zoo.Encoder.prepare(self, pixels, item)))  # fmt: skip
    source = Dataset("d", pd.DataFrame({"image": list("abcde")}), read)
    other = zoo.Preprocessing(scaling="instance", resize=None, crop=None, min_side=4)
    encoders = [Means(name="a"), Means(name="b"), Means(name="c", preprocessing=other)]
    found = embed_many(source, encoders)
    assert reads == [0, 1, 2, 3, 4]
    assert sorted(prepared) == sorted(list("abcde") * 2)  # two ways of preparing
    assert found[0].matrix.tolist() == found[1].matrix.tolist() == expected(range(5))
    assert (found[2].matrix[:, :2] == 0).all()
    assert [f.provenance["encoder"] for f in found] == ["a", "b", "c"]


def test_reading_runs_at_most_one_chunk_ahead():
    reads, seen = [], []
    images = [image(i) for i in range(300)]

    class Watching(Means):
        def forward(self, batch, **arguments):
            seen.append((self.seen, len(reads)))
            return super().forward(batch, **arguments)

    def read(i):
        reads.append(i)
        return images[i]

    embed(Dataset("d", pd.DataFrame({"image": range(300)}), read), Watching())
    assert all(ahead - done <= 2 * 64 for done, ahead in seen)


def test_progress_adds_up():
    steps = []
    images = [image(i) if i % 50 else errors.ImageError("bad") for i in range(150)]
    embed(dataset(images), Means(), on_error="skip", progress=lambda *step: steps.append(step))
    assert [total for _, _, total in steps] == [150] * 4
    assert [done for _, done, _ in steps] == [4, 68, 132, 150], "few at first, to learn the time"


def test_progress_names_the_encoder_that_works():
    steps = []
    both = [Means(), Means(name="others")]
    embed_many(
        dataset([image(i) for i in range(6)]), both, progress=lambda *step: steps.append(step)
    )
    names = [f"embedding plate{who}" for who in (" with means", " with others", "")]
    assert steps == [
        *((name, done, 6) for name, done in zip(names, (0, 0, 4), strict=True)),
        *((name, done, 6) for name, done in zip(names, (4, 4, 6), strict=True)),
    ]


BAD = {
    "unreadable": (errors.ImageError("5.tif is missing"), "5.tif is missing"),
    "no such row": (errors.DataError("row 6 names no file"), "row 6 names no file"),
    "NaN": (Image(np.full((2, 8, 8), np.nan)), "5.tif has NaN or infinite pixels in channel 0"),
    "flat": (Image(np.ones((8, 8))), "5.tif has the shape (8, 8)"),
    "no channel": (Image(np.ones((0, 8, 8))), "5.tif has the shape (0, 8, 8)"),
    "type": (Image(np.ones((1, 8, 8), bool)), "5.tif is bool"),
    "small": (Image(np.ones((1, 8, 3))), "5.tif is 8 × 3 pixels, but sides must be at least 4"),
    "many channels": (Image(np.ones((9, 8, 8))), "5.tif has 9 channels, but means takes 1 to 4"),
    "stains": (Image(np.ones((2, 8, 8)), ("DNA",)), "5.tif has 2 channel(s), but its stains"),
    # The next are found only when the image is prepared or embedded.
    "range": (Image(np.full((1, 8, 8), 600.0)), "5.tif is float64 with values from 600 to 600"),
    "crop": (Image(np.ones((1, 8, 5))), "5.tif is 8 × 5 pixels, too small to crop 6"),
    "embedding": (
        Image(np.full((1, 8, 8), 600.0)),
        "means returned NaN or infinite numbers for 5.tif",
    ),
}


def bad_case(kind):
    """A dataset whose item 5 is bad, its encoder, and the start of the message."""
    bad, message = BAD[kind]
    images = [bad if i == 5 else image(i) for i in range(100)]
    record = {"scaling": "range" if kind == "range" else "none", "resize": None, "min_side": 4}
    record["crop"] = 6 if kind == "crop" else None
    if kind == "range":
        images = [m if i == 5 else Image(m.pixels / 1000) for i, m in enumerate(images)]
    make = Broken if kind == "embedding" else Means
    return (
        dataset(images),
        make(preprocessing=zoo.Preprocessing(**record), channels=(1, 4)),
        message,
    )


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_item_is_an_error_that_names_it(kind):
    source, encoder, message = bad_case(kind)
    with pytest.raises(zoo.ZooError) as caught:
        embed(source, encoder)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_item_can_be_left_out_and_is_listed(kind):
    source, encoder, message = bad_case(kind)
    found = embed(source, encoder, on_error="skip")
    kept = [i for i in range(100) if i != 5]
    assert found.metadata["image"].tolist() == [f"{i}.tif" for i in kept]
    scale = 1000 if kind == "range" else 1
    np.testing.assert_allclose(found.matrix[:, 0] * scale, kept, rtol=1e-6)  # float32
    ((item, reason),) = found.failures
    assert item == "5.tif"
    assert reason.startswith(message)


def test_failures_are_in_the_order_of_the_items():
    images = [image(i) for i in range(200)]
    images[190] = images[3] = errors.ImageError("unreadable")
    images[70] = images[2] = Image(np.full((1, 8, 8), 600.0))
    found = embed(dataset(images), Broken(), on_error="skip")
    assert [item for item, _ in found.failures] == ["2.tif", "3.tif", "70.tif", "190.tif"]
    kept = [i for i in range(200) if i not in (2, 3, 70, 190)]
    assert found.matrix.tolist() == expected(kept)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_one_encoder_refuses_is_left_out_for_all(reverse):
    images = [image(i) for i in range(10)]
    images[4] = Image(np.full((1, 8, 8), 600.0))
    images[7] = Image(np.ones((9, 8, 8), np.float32))
    encoders = [Broken(name="a"), Means(name="b", channels=(1, 3)), Means(name="c")]
    found = embed_many(dataset(images), encoders[::-1] if reverse else encoders, on_error="skip")
    for one in found:
        assert one.matrix.tolist() == expected([0, 1, 2, 3, 5, 6, 8, 9])
        assert [item for item, _ in one.failures] == ["4.tif", "7.tif"]
        assert one.metadata.equals(found[0].metadata)


def test_nothing_left_is_an_error_with_the_first_reason():
    with pytest.raises(errors.DataError, match=r"none of the 3 images of plate .*: a is broken"):
        embed(
            dataset([errors.ImageError(f"{c} is broken") for c in "abc"]),
            Means(),
            on_error="skip",
        )


def test_a_fault_of_the_reader_is_no_bad_item():
    with pytest.raises(ZeroDivisionError):
        embed(dataset([image(0), ZeroDivisionError()]), Means(), on_error="skip")


def test_other_ways_with_errors_are_refused():
    with pytest.raises(ValueError, match="on_error is 'ignore'"):
        embed(dataset([image(0)]), Means(), on_error="ignore")


@pytest.mark.parametrize("late", [1, 100])
def test_an_encoder_that_joins_channels_needs_as_many_in_each_image(late):
    images = [Image(np.ones((2 + (i >= late), 8, 8), np.float32)) for i in range(120)]
    with pytest.raises(
        errors.DataError, match=r"plate has images of 2 to 3 channels, but joint concatenates"
    ):
        embed(dataset(images), Means(name="joint", joins=True), on_error="skip")
    equal = [Image(m.pixels[:2]) for m in images]
    assert len(embed(dataset(equal), Means(name="joint", joins=True))) == 120


def test_items_are_called_by_their_well_or_number_where_there_is_no_image_column():
    images = [image(0), errors.ImageError("bad")]
    for column, wanted in (("image_path", "B07"), ("well", "B07"), ("dose", "item 1")):
        metadata = pd.DataFrame({column: ["A01", "B07"]})
        source = Dataset("d", metadata, dataset(images).read)
        assert embed(source, Means(), on_error="skip").failures == ((wanted, "bad"),)


def test_the_metadata_keep_their_rows_whatever_their_index():
    metadata = pd.DataFrame({"image": list("abc"), "dose": [5, 6, 7]}, index=[9, 9, 1])
    images = [image(0), errors.ImageError("bad"), image(2)]
    found = embed(Dataset("d", metadata, dataset(images).read), Means(), on_error="skip")
    kept = {"image": ["a", "c"], "dose": [5, 7], "channel_count": [1, 3]}
    assert found.metadata.to_dict("list") == kept
    assert found.metadata.index.tolist() == [0, 1]


def test_provenance_names_everything_that_decides_the_numbers():
    encoder = zoo.load("gaussian", seed=7)
    found = embed(dataset([Image(np.ones((1, 20, 20), np.uint8))]), encoder).provenance
    assert found["zoo"] == zoo.__version__
    assert found["dataset"] == "plate"
    assert found["encoder"] == "gaussian"
    assert found["seed"] == 7
    assert "scaling auto" in found["preprocessing"]
    assert "224" in found["preprocessing"]
    assert {"weights", "weights_sha256", "options", "dtype", "device"} <= set(found)
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["timm"] == timm.__version__
    weighted = Means()
    weighted.weights_source, weighted.weights_sha256 = "org/repo@0123/model.safetensors", "ab" * 32
    found = embed(dataset([image(0)]), weighted).provenance
    assert (found["weights"], found["weights_sha256"]) == (
        "org/repo@0123/model.safetensors",
        "ab" * 32,
    )


def test_a_second_run_embeds_only_what_is_new(cache):
    images = [image(i) for i in range(70)]
    encoder = Means()
    encoder.from_registry = True  # encoders made by hand have no complete record
    first = embed(dataset(images[:66]), encoder).matrix
    second = embed(dataset(images), encoder).matrix
    assert encoder.seen == 70
    assert np.array_equal(second[:66], first)
    embed(dataset(images), encoder, cache=False)
    assert encoder.seen == 140


@pytest.mark.parametrize("error", [errors.ImageError("bad"), KeyboardInterrupt()])
def test_work_that_is_done_is_kept_when_a_run_ends_early(cache, error):
    images = [image(i) for i in range(150)]
    encoder = Means()
    encoder.from_registry = True
    with pytest.raises(type(error)):
        embed(dataset([*images[:140], error, *images[141:]]), encoder)
    assert encoder.seen == 132
    embed(dataset(images), encoder)
    assert encoder.seen == 150


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "plate"
    folder.mkdir()
    for i in range(3):
        stack = np.full((i + 1, 20, 20), i, np.uint8)
        tifffile.imwrite(folder / f"{i}.tif", stack, photometric="minisblack")
    return folder


def test_tables_folders_files_and_names_are_sources(files):
    encoder = Means(preprocessing=PLAIN)
    frame = pd.DataFrame({"image": ["2.tif", "0.tif"], "dose": [1, 2]})
    frame.to_csv(files / "t.csv", index=False)
    assert embed(files / "t.csv", encoder).matrix.tolist() == [[2, 2, 3], [0, 0, 1]]
    assert embed(str(files), encoder).matrix.tolist() == expected(range(3))
    assert embed(files / "1.tif", encoder).matrix.tolist() == [[1, 1, 2]]
    assert embed(open_images(files), encoder).matrix.tolist() == expected(range(3))
    assert embed(files, "constant").provenance["encoder"] == "constant"


def test_a_table_with_one_truncated_and_one_missing_file_keeps_the_rest(files):
    content = (files / "1.tif").read_bytes()
    (files / "1.tif").write_bytes(content[:300])
    frame = pd.DataFrame({"image": ["0.tif", "1.tif", "gone.tif", "2.tif"], "dose": [1, 2, 3, 4]})
    frame.to_csv(files / "t.csv", index=False)
    found = embed(files / "t.csv", Means(), on_error="skip")
    assert found.metadata["dose"].tolist() == [1, 4]
    assert [item for item, _ in found.failures] == ["1.tif", "gone.tif"]
    assert "truncated" in found.failures[0][1]
    assert "missing" in found.failures[1][1]
    with pytest.raises(errors.ImageError, match=r"1\.tif .*truncated"):
        embed(files / "t.csv", Means())


def embeddings(**metadata):
    metadata = metadata or {"image": ["a", "b", "c"], "dose": [0.5, 1.0, np.nan]}
    rows = len(next(iter(metadata.values())))
    matrix = np.random.default_rng(0).normal(size=(rows, 12)).astype(np.float32)
    return Embeddings(matrix, pd.DataFrame(metadata), {"encoder": "e", "options": {"α": 1}})


def test_the_table_has_metadata_first_and_numbered_features():
    frame = embeddings().to_frame()
    features = [f"embedding_{i:04d}" for i in range(12)]
    assert frame.columns.tolist() == ["Metadata_image", "Metadata_dose", *features]
    assert np.array_equal(frame[features].to_numpy(), embeddings().matrix)


def test_columns_that_have_the_prefix_keep_it_once():
    frame = embeddings(Metadata_Well=["A01"], image=["a"]).to_frame()
    assert frame.columns.tolist()[:2] == ["Metadata_Well", "Metadata_image"]
    frame = embeddings(Metadata_Well=["A01"], Well=["B02"]).to_frame()
    assert frame.columns.tolist()[:2] == ["Metadata_Metadata_Well", "Metadata_Well"]
    assert frame["Metadata_Well"].tolist() == ["B02"]


def test_parquet_holds_rows_and_provenance_to_the_last_bit(tmp_path):
    given = embeddings()
    given.write(tmp_path / "new" / "profiles.parquet")
    found = pd.read_parquet(tmp_path / "new" / "profiles.parquet")
    pd.testing.assert_frame_equal(found, given.to_frame())
    assert found.dtypes.iloc[-1] == np.float32
    schema = pq.read_schema(tmp_path / "new" / "profiles.parquet")
    assert json.loads(schema.metadata[b"zoo"]) == given.provenance
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["profiles.parquet"]


def test_csv_has_its_provenance_beside_it(tmp_path):
    given = embeddings()
    given.write(str(tmp_path / "profiles.csv"))
    found = pd.read_csv(tmp_path / "profiles.csv")
    assert found.columns.tolist() == given.to_frame().columns.tolist()
    # pandas writes the shortest text that gives the same float32 again.
    assert np.array_equal(found.iloc[:, 2:].to_numpy(np.float32), given.matrix)
    assert json.loads((tmp_path / "profiles.json").read_text()) == given.provenance
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["profiles.csv", "profiles.json"]


@pytest.mark.parametrize(
    "name", ["profiles.npy", "profiles", "profiles.parquet.gz", "profiles.CSV"]
)
def test_other_formats_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name} must end in \.parquet, \.csv or \.h5ad"):
        embeddings().write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"folder\.csv is a folder"):
        embeddings().write(tmp_path / "folder.csv")
    with pytest.raises(ValueError, match=r"profiles\.csv cannot be written: "):
        embeddings().write(tmp_path / "file" / "profiles.csv")
    with pytest.raises(ValueError, match=r"profiles\.csv cannot be written: "):
        check_output(tmp_path / "file" / "profiles.csv")
    check_output(tmp_path / "new" / "profiles.csv")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder.csv", "new"]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(errors.MissingExtraError, match=r'pip install "microscopy-zoo\[parquet\]"'):
        embeddings().write(tmp_path / "profiles.parquet")
    embeddings().write(tmp_path / "profiles.csv")


@pytest.mark.parametrize("name", ["profiles.parquet", "profiles.csv", "profiles.json"])
@pytest.mark.parametrize("before", [False, True])
def test_writing_leaves_the_old_or_the_new_and_nothing_between(tmp_path, monkeypatch, name, before):
    path = tmp_path / name.replace(".json", ".csv")
    names = []
    if before:
        embeddings(image=["old"]).write(path)
        names = sorted(p.name for p in tmp_path.iterdir())
    content = path.read_bytes() if before else None

    def half(target, *_, **__):
        with open(target, "w") as file:  # noqa: PTH123
            file.write("half of ")
        raise OSError("disk full")

    if name.endswith(".parquet"):
        monkeypatch.setattr(pq, "write_table", lambda table, target: half(target))
    elif name.endswith(".csv"):
        monkeypatch.setattr(pd.DataFrame, "to_csv", lambda self, target, **_: half(target))
    else:
        monkeypatch.setattr("pathlib.Path.write_text", half)
    with pytest.raises(OSError, match="disk full"):
        embeddings().write(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert (path.read_bytes() if before else None) == content


def test_stains_and_channel_counts_come_along_unless_the_table_says_them():
    pixels = np.ones((2, 20, 20), np.uint8)
    stained = [Image(pixels, ("DNA", "GFP")), Image(pixels[:1])]
    found = embed(dataset(stained), Means()).metadata
    assert found["channel_count"].tolist() == [2, 1]
    assert found["stains"].iloc[0] == "DNA|GFP"
    assert pd.isna(found["stains"].iloc[1])
    table = pd.DataFrame({"image": ["a", "b"], "channels": ["x|y", "x"], "n_channels": [2, 1]})
    found = embed(Dataset("d", table, dataset(stained).read), Means()).metadata
    assert list(found.columns) == ["image", "channels", "n_channels"]


class Objects(Means):
    """How many pixels each image has in objects, the largest number, and the sum of types."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.batches = []

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        self.batches.append(batch)
        nothing = (None,) * len(batch)
        rows = [
            [
                -1 if mask is None else int((mask > 0).sum()),
                -1 if mask is None else int(mask.max()),
                -1 if types is None else int(types.sum()),
            ]
            for mask, types in zip(batch.masks or nothing, batch.types or nothing, strict=True)
        ]
        return zoo.Features(torch.tensor(rows, dtype=torch.float32), batch.counts)


def objects(i, side=8):
    """A mask of i + 1 single pixels, numbered from 1."""
    numbers = np.zeros((side, side), np.int32)
    numbers.flat[: i + 1] = np.arange(1, i + 2)
    return numbers


def with_objects(i):
    pixels = np.full((1, 8, 8), i, np.float32)
    return Image(pixels, mask=objects(i), types=np.arange(i + 1))


def test_masks_and_types_reach_the_encoder_in_order():
    images = [with_objects(i) for i in range(40)]
    images[3] = Image(images[3].pixels)
    images[5] = Image(images[5].pixels, mask=objects(5))
    found = embed(dataset(images), Objects()).matrix
    wanted = [[i + 1, i + 1, i * (i + 1) // 2] for i in range(40)]
    wanted[3], wanted[5] = [-1, -1, -1], [6, 6, -1]
    assert found.tolist() == wanted


def test_without_masks_batches_carry_nothing():
    encoder = Objects()
    embed(dataset([image(i) for i in range(5)]), encoder)
    assert all(b.masks == b.types == () for b in encoder.batches)


@pytest.mark.parametrize("record", [{"crop": 4}, {"resize": 4, "crop": None}])
def test_masks_are_prepared_as_their_image_is(record):
    mask = np.zeros((8, 8), np.uint16)
    mask[:2], mask[3:5, 3:5], mask[7] = 1, 2, 3
    record = zoo.Preprocessing(**{"scaling": "none", "resize": None, "min_side": 4, **record})
    image = Image(np.ones((2, 8, 8), np.float32), mask=mask, types=np.array([5, 6, 7]))
    encoder = Objects(preprocessing=record)
    through_dataset = embed(dataset([image]), encoder).matrix
    directly = encoder.encode([image.pixels], masks=[mask], types=[image.types]).embedding
    assert through_dataset.tolist() == directly.tolist()
    first, second = encoder.batches
    assert first.masks[0].shape == (4, 4)
    assert torch.equal(first.masks[0], second.masks[0])
    # A crop keeps the middle object only; halving takes rows 1, 3, 5, 7 and columns 1, 3, 5, 7.
    rows = [slice(2, 6)] * 2 if "crop" in str(record) else [slice(1, None, 2)] * 2
    assert first.masks[0].tolist() == mask[tuple(rows)].tolist()
    assert first.types[0].tolist() == [5, 6, 7]


def test_masks_are_prepared_once_for_encoders_that_prepare_alike(monkeypatch):
    prepared = []
    ours = Objects.prepare_mask
    monkeypatch.setattr(
        Objects, "prepare_mask", lambda self, m, item: prepared.append(item) or ours(self, m, item)
    )
    embed_many(dataset([with_objects(0), image(1)]), [Objects(name="a"), Objects(name="b")])
    assert prepared == ["0.tif"]


BAD_OBJECTS = {
    "shape": ({"mask": objects(2, 9)}, "the mask of 5.tif has the shape (9, 9), but the image"),
    "bool": ({"mask": objects(2) > 0}, "the mask of 5.tif holds bool values"),
    "float": ({"mask": objects(2) / 2}, "the mask of 5.tif holds float64 values"),
    "negative": ({"mask": -objects(2)}, "the mask of 5.tif holds -3"),
    "few types": ({"mask": objects(2), "types": np.array([1])}, "5.tif has objects up to number 3"),
    "no mask": ({"types": np.array([1])}, "5.tif has object types, but no mask"),
}


@pytest.mark.parametrize("kind", BAD_OBJECTS)
def test_a_bad_mask_is_an_error_that_names_it_or_left_out(kind):
    arguments, message = BAD_OBJECTS[kind]
    images = [with_objects(i) for i in range(7)]
    images[5] = Image(images[5].pixels, **arguments)
    with pytest.raises(errors.ImageError) as caught:
        embed(dataset(images), Objects())
    assert str(caught.value).startswith(message)
    found = embed(dataset(images), Objects(), on_error="skip")
    assert [item for item, _ in found.failures] == ["5.tif"]
    assert found.matrix[:, 0].tolist() == [1, 2, 3, 4, 5, 7]


def test_encode_names_the_image_of_a_bad_mask_and_wants_one_entry_for_each():
    encoder, pixels = Objects(), [np.ones((1, 8, 8), np.float32)] * 2
    with pytest.raises(errors.ImageError, match=r"^the mask of image 1 holds bool values"):
        encoder.encode(pixels, masks=[objects(1), objects(1) > 0])
    for arguments in ({"masks": [None]}, {"types": [None] * 3}):
        with pytest.raises(ValueError, match="entries for 2 images"):
            encoder.encode(pixels, **arguments)
    given = encoder.encode(pixels, masks=[objects(1), None], types=[[0, 3], None])
    assert given.embedding.tolist() == [[2, 2, 3], [-1, -1, -1]]
    packed = encoder.batches[-1]
    assert encoder.encode(packed).embedding.tolist() == given.embedding.tolist()
    with pytest.raises(ValueError, match="leave out masks="):
        encoder.encode(packed, masks=[None, None])


def test_an_encoder_that_needs_types_leaves_out_images_without():
    images = [with_objects(i) for i in range(4)]
    images[2] = Image(images[2].pixels, mask=images[2].mask)
    encoder = Objects()
    encoder.requires_object_types = True
    found = embed(dataset(images), encoder, on_error="skip")
    assert found.matrix[:, 0].tolist() == [1, 2, 4]
    assert found.failures[0][1].startswith("2.tif has no object types, which means requires")


def test_images_with_other_masks_have_rows_of_their_own_in_the_cache(cache):
    encoder = Objects()
    encoder.from_registry = True
    pixels = np.ones((1, 8, 8), np.float32)
    images = [Image(pixels, mask=objects(i)) for i in range(3)] + [Image(pixels)]
    first = embed(dataset(images), encoder).matrix
    again = embed(dataset(images[::-1]), encoder).matrix
    assert len(encoder.batches) == 1
    assert first[:, 0].tolist() == [1, 2, 3, -1]
    assert np.array_equal(again, first[::-1])


def test_few_images_are_held_at_the_size_of_the_encoder(monkeypatch):
    """Small images of 4 µm for an encoder of 1 µm: a few at a time."""
    preprocessing = zoo.Preprocessing(
        scaling="none", resize=None, crop=None, min_side=4, pixel_size=1.0
    )
    images = [Image(np.full((1, 8, 8), float(k)), pixel_size=4.0) for k in range(5)]
    held = []
    prepare_each = module.prepare_each
    monkeypatch.setattr(module, "_AT_ONCE", 2 * 32 * 32 * 8)
    monkeypatch.setattr(
        module,
        "prepare_each",
        lambda encoder, pixels, items: (
            held.append([p.shape[1:] for p in pixels]) or prepare_each(encoder, pixels, items)
        ),
    )
    found = embed(images, Means(preprocessing=preprocessing), cache=False)
    assert found.matrix[:, 0] == pytest.approx(range(5))
    assert held == [[(32, 32)] * n for n in (2, 2, 1)]
