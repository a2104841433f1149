"""The BBBC013 plate from miniatures of both layouts, from a server next door, and the real one."""

import hashlib
import io
import os
import socket
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Picture
from zoo.plugins.datasets import bbbc013

from zoo import errors
from zoo._data.sources import load_dataset

WELLS = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
SOME = ["A01", "A03", "A12", "D11", "E01", "E02", "E12", "H10"]


def plane(well, channel):
    """Pixels that tell well and channel."""
    rng = np.random.default_rng([WELLS.index(well), channel])
    return rng.integers(0, 256, (6, 8), dtype=np.uint8)


def save_official(folder, wells, suffix="BMP", channels=(1, 2)):
    folder.mkdir(parents=True, exist_ok=True)
    for well in wells:
        number = WELLS.index(well) + 1
        for channel in channels:
            name = f"Channel{channel}-{number:02d}-{well[0]}-{well[1:]}.{suffix}"
            Picture.fromarray(plane(well, channel)).save(folder / name)
    return folder


def save_plain(folder, wells):
    folder.mkdir(parents=True, exist_ok=True)
    for well in wells:
        both = np.stack([plane(well, 1), plane(well, 2)])
        tifffile.imwrite(folder / f"{well}.tif", both, photometric="minisblack")
    return folder


def pixel_hash(wells):
    content = b"".join(plane(w, c).tobytes() for w in sorted(wells) for c in (1, 2))
    return hashlib.sha256(content).hexdigest()


def open_plate(path=None):
    return load_dataset("bbbc013", path)


class TestFolder:
    @pytest.mark.parametrize("suffix", ["BMP", "bmp", "tif"])
    def test_official_and_plain_layouts_give_the_same(self, tmp_path, suffix):
        official = open_plate(save_official(tmp_path / "a" / "BBBC013_v1", WELLS, suffix).parent)
        plain = open_plate(save_plain(tmp_path / "b" / "images", WELLS).parent)
        pd.testing.assert_frame_equal(official.metadata, plain.metadata)
        assert official.metadata["well"].tolist() == WELLS
        for i in (0, 50, 95):
            for dataset in (official, plain):
                image = dataset[i]
                assert image.pixels.tolist() == [plane(WELLS[i], c).tolist() for c in (1, 2)]
                assert image.stains == ("FKHR-GFP", "DNA")

    def test_the_table_is_that_of_the_plate(self, tmp_path):
        table = open_plate(save_plain(tmp_path, WELLS)).metadata.set_index("well")
        # Rows A–D: nothing in columns 1, 2, nine doses of wortmannin, positive control last.
        # Rows E–H: positive control first, nothing in 2 and 12, nine doses of LY294002 between.
        for row in "ABCDEFGH":
            drug = "wortmannin" if row in "ABCD" else "LY294002"
            ends = (0, 10) if row in "ABCD" else (10, 0)
            doses = [ends[0], 0, *range(1, 10), ends[1]]
            found = table[table["row"] == row]
            assert found["column"].tolist() == list(range(1, 13))
            assert found["dose_rank"].tolist() == doses
            names = {0: "none", 10: "none"}
            assert found["compound"].tolist() == [names.get(d, drug) for d in doses]
            kinds = {0: "negative", 10: "positive"}
            assert found["control"].tolist() == [kinds.get(d, "sample") for d in doses]
            wanted = [kinds.get(d, f"{drug} {d}") for d in doses]
            assert found["treatment"].tolist() == wanted
        assert table["control"].value_counts().to_dict() == {
            "sample": 72,
            "negative": 16,
            "positive": 8,
        }

    def test_wells_may_be_missing_and_other_files_are_none(self, tmp_path):
        save_official(tmp_path, SOME)
        for name in ("A13.tif", "A00.tif", "I01.tif", "AA01.tif", "A01.png", "._A02.tif"):
            (tmp_path / name).write_bytes(b"x")
        for name in ("Channel3-01-B-01.BMP", "Channel1-01-B-13.BMP", "readme.txt"):
            (tmp_path / name).write_bytes(b"x")
        dataset = open_plate(tmp_path)
        assert dataset.metadata["well"].tolist() == SOME
        assert dataset[3].pixels[1].tolist() == plane("D11", 2).tolist()

    @pytest.mark.parametrize("channel", [1, 2])
    def test_a_missing_channel_is_named(self, tmp_path, channel):
        save_official(tmp_path, SOME)
        save_official(tmp_path, ["B05"], channels=[channel])
        with pytest.raises(
            errors.DataError, match=r"well B05 in .* has only one of its two channels"
        ):
            open_plate(tmp_path)

    def test_other_numbers_of_channels_are_named_when_read(self, tmp_path):
        tifffile.imwrite(tmp_path / "A01.tif", plane("A01", 1))
        tifffile.imwrite(
            tmp_path / "A02.tif", np.zeros((4, 6, 8), np.uint8), photometric="minisblack"
        )
        dataset = open_plate(tmp_path)
        for i, count in ((0, 1), (1, 4)):
            with pytest.raises(errors.DataError, match=rf"A0{i + 1}\.tif has {count} channel\(s\)"):
                dataset[i]

    def test_colour_pictures_are_no_planes(self, tmp_path):
        for channel in (1, 2):
            colour = np.zeros((6, 8, 3), np.uint8)
            Picture.fromarray(colour).save(tmp_path / f"Channel{channel}-01-A-01.BMP")
        with pytest.raises(errors.DataError, match=r"has 6 channel\(s\) instead of two"):
            open_plate(tmp_path)[0]

    def test_a_folder_of_something_else_is_an_error(self, tmp_path):
        with pytest.raises(
            errors.DataError, match=r"no images of BBBC013: neither Channel1-01-A-01"
        ):
            open_plate(tmp_path)
        with pytest.raises(errors.DataError, match=r"nowhere is not a folder"):
            open_plate(tmp_path / "nowhere")


@contextmanager
def server(body, *, status=200, length=None, raw=None):
    """Serve one answer to every request, and say how many there were."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            if raw is not None:
                self.wfile.write(raw)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    answering = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answering.daemon_threads = False
    thread = threading.Thread(target=answering.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{answering.server_port}/plate.zip", requests
    finally:
        answering.shutdown()
        answering.server_close()
        thread.join()


def archive(tmp_path, wells=SOME):
    folder = save_official(tmp_path / "to zip" / "BBBC013_v1_images_bmp", wells)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.iterdir()):
            file.write(path, f"BBBC013_v1_images_bmp/{path.name}")
    return content.getvalue()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and the miniature as what the plate must be."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bbbc013, "PIXELS_SHA256", pixel_hash(SOME))
    return tmp_path / "cache" / "datasets"


def left(cache):
    return sorted(p.name for p in cache.iterdir()) if cache.exists() else []


def spoil_first_stream(content):
    """Begin it with a block of the one type that deflate does not have."""
    start = content.index(b".BMP") + len(b".BMP")
    return content[:start] + b"\xff" * 8 + content[start + 8 :]


class TestDownload:
    def test_once_and_then_from_the_cache(self, tmp_path, cache, monkeypatch):
        with server(archive(tmp_path)) as (url, requests):
            monkeypatch.setattr(bbbc013, "URL", url)
            dataset = open_plate()
            assert dataset.metadata["well"].tolist() == SOME
            assert dataset[1].pixels[0].tolist() == plane("A03", 1).tolist()
            assert len(open_plate()) == len(SOME)
            assert requests == ["/plate.zip"]
        assert left(cache) == ["bbbc013"]
        assert len(open_plate()) == len(SOME)  # with nobody to ask

    def test_a_folder_of_ones_own_needs_no_download(self, tmp_path, cache, monkeypatch):
        monkeypatch.setattr(bbbc013, "URL", "http://127.0.0.1:9/")
        assert len(open_plate(save_plain(tmp_path / "own", ["A01"]))) == 1
        assert left(cache) == []

    def test_other_pixels_are_refused_and_nothing_stays(self, tmp_path, cache, monkeypatch):
        monkeypatch.setattr(bbbc013, "PIXELS_SHA256", pixel_hash(SOME[::-1][1:]))
        with server(archive(tmp_path)) as (url, _):
            monkeypatch.setattr(bbbc013, "URL", url)
            with pytest.raises(errors.IntegrityError) as caught:
                open_plate()
        assert pixel_hash(SOME) in str(caught.value)
        assert pixel_hash(SOME[:-1]) in str(caught.value)
        assert "--data" in str(caught.value)
        assert left(cache) == []

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda content: b"<html>moved</html>",
            lambda content: b"",
            lambda content: content[: len(content) // 2],
            spoil_first_stream,
            lambda content: bytes(500) + content[500:],
        ],
        ids=["page", "empty", "half", "spoilt stream", "spoilt files"],
    )
    def test_what_is_no_sound_archive_is_refused(self, tmp_path, cache, monkeypatch, spoil):
        with server(spoil(archive(tmp_path))) as (url, _):
            monkeypatch.setattr(bbbc013, "URL", url)
            with pytest.raises(errors.IntegrityError, match=r"^http://127.*gave"):
                open_plate()
        assert left(cache) == []

    @pytest.mark.parametrize("wells", [[], ["A01"]])
    def test_an_archive_without_the_plate_is_refused(self, tmp_path, cache, monkeypatch, wells):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            file.writestr("readme.txt", "nothing")
            for _ in wells:
                file.writestr("Channel1-01-A-01.BMP", "no picture and no second channel")
        with server(content.getvalue()) as (url, _):
            monkeypatch.setattr(bbbc013, "URL", url)
            with pytest.raises(errors.IntegrityError, match=r"127\.0\.0\.1"):
                open_plate()
        assert left(cache) == []

    @pytest.mark.parametrize("status", [403, 404, 500, 503])
    def test_a_refusal_says_what_to_do(self, tmp_path, cache, monkeypatch, status):
        with server(b"sorry", status=status) as (url, _):
            monkeypatch.setattr(bbbc013, "URL", url)
            with pytest.raises(errors.DataError, match=rf"cannot be fetched .*{status}.*--data"):
                open_plate()
        assert left(cache) == []

    def test_an_answer_that_is_no_http(self, cache, monkeypatch):
        with server(b"", raw=b"220 mail server ready\r\n") as (url, _):
            monkeypatch.setattr(bbbc013, "URL", url)
            with pytest.raises(errors.DataError, match=r"cannot be fetched .*--data"):
                open_plate()
        assert left(cache) == []

    def test_a_connection_that_breaks_off(self, tmp_path, cache, monkeypatch):
        content = archive(tmp_path)
        with server(content[:900], length=len(content)) as (url, _):
            monkeypatch.setattr(bbbc013, "URL", url)
            with pytest.raises((errors.DataError, errors.IntegrityError), match=r"127\.0\.0\.1"):
                open_plate()
        assert left(cache) == []

    def test_nobody_there_is_an_error_at_once(self, cache, monkeypatch):
        with socket.socket() as taken:  # bound, but nobody listens
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/plate.zip"
            monkeypatch.setattr(bbbc013, "URL", url)
            with (
                mock.patch("socket.create_connection", wraps=socket.create_connection) as tried,
                pytest.raises(
                    errors.DataError, match=r"not on this machine.*cannot be fetched.*--data"
                ),
            ):
                open_plate()
        assert tried.call_count == 1
        assert left(cache) == []

    def test_a_name_that_does_not_resolve(self, cache, monkeypatch):
        monkeypatch.setattr(bbbc013, "URL", "http://no-such-host.invalid/plate.zip")
        monkeypatch.setattr(socket, "getaddrinfo", unresolved)
        with pytest.raises(errors.DataError, match=r"no-such-host\.invalid.* cannot be fetched"):
            open_plate()


def unresolved(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")


@pytest.fixture
def real_plate():
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    for place in (os.environ.get("ZOO_TEST_DATA"), beside):
        if place and Path(place, "bbbc013", "labels.csv").is_file():
            return Path(place, "bbbc013")
    pytest.skip("no real images: set ZOO_TEST_DATA to a folder that holds bbbc013/")


def test_the_real_plate_has_the_table_that_we_derive(real_plate):
    labels = pd.read_csv(real_plate / "labels.csv", keep_default_na=False)
    found = open_plate(real_plate).metadata
    assert len(found) == 96
    merged = labels.merge(found, on="well", suffixes=("", "_found"), validate="1:1")
    assert len(merged) == 96
    assert (merged["col"] == merged["column"]).all()
    for column in ("row", "compound", "dose_rank", "control"):
        assert (merged[column] == merged[f"{column}_found"]).all()


def test_the_real_plate_has_the_recorded_pixels(real_plate):
    digest = hashlib.sha256()
    for well in WELLS:
        digest.update(tifffile.imread(real_plate / "images" / f"{well}.tif").tobytes())
    assert digest.hexdigest() == bbbc013.PIXELS_SHA256 == bbbc013.pixels_sha256(real_plate)
    dataset = open_plate(real_plate)
    assert dataset[0].pixels.shape == (2, 640, 640)
    # The biology: FKHR-GFP follows the nuclei in the positive control, and avoids them without.
    kinds = dataset.metadata["control"]
    correlation = {}
    for kind in ("negative", "positive"):
        pixels = [dataset[int(i)].pixels.reshape(2, -1) for i in np.flatnonzero(kinds == kind)[:4]]
        correlation[kind] = np.mean([np.corrcoef(p)[0, 1] for p in pixels])
    assert correlation["positive"] > correlation["negative"] + 0.1
