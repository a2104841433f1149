"""Files of web servers and object stores, from servers on the loopback address."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import fsspec
import numpy as np
import pandas as pd
import plates
import pytest
from loopback_store import LoopbackStore

from zoo import errors
from zoo._data import remote
from zoo._data.dataset import files_of
from zoo._data.sources import open_images


def stored(folder, place):
    """Return the files of a plate, and its LoadData table with their places on a server."""
    plates.ome_tiff(folder)
    files = {f"bucket/images ü/{p.name}": p.read_bytes() for p in folder.glob("*.tif")}
    rows = [
        {"Metadata_Plate": "001", "Metadata_Well": w, "Metadata_Site": s}
        | {f"FileName_Orig{n}": f"{w}_s{s}.ome.tif" for n in plates.STAINS}
        | {f"PathName_Orig{n}": place for n in plates.STAINS}
        | {f"Frame_Orig{n}": k for k, n in enumerate(plates.STAINS)}
        for w, s in plates.truth()
    ]
    text = pd.DataFrame(rows).to_csv(index=False)
    return {**files, "bucket/load_data.csv": text.encode()}


def check(dataset):
    for image, wanted in zip(dataset, plates.truth().values(), strict=True):
        assert (image.pixels == wanted).all()
        assert image.stains == plates.STAINS


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


class TestAnyStore:
    @pytest.mark.parametrize("place", ["memory://bucket/images ü/", "images ü"])
    def test_a_load_data_table_as_it_is(self, tmp_path, memory, place):
        for name, content in stored(tmp_path, place).items():
            memory.pipe_file(f"/{name}", content)
        check(open_images("memory://bucket/load_data.csv"))

    def test_a_file_is_fetched_once_and_given_up(self, tmp_path, memory, monkeypatch):
        monkeypatch.setattr(remote, "_KEPT", 2)
        for k in range(4):
            memory.pipe_file(f"/{k}.txt", bytes([k]))
        paths = [remote.local_copy(f"memory://{k}.txt") for k in (0, 0, 1, 2)]
        assert paths[0] == paths[1]
        assert [p.name for p in paths[1:] if p.exists()] == ["1.txt", "2.txt"]
        assert remote.local_copy("memory://0.txt").read_bytes() == b"\0"

    def test_threads_that_want_a_file_wait_for_the_one_that_fetches_it(self, monkeypatch):
        fetched, together = [], threading.Barrier(4)

        def fetch(url, target):
            fetched.append(target)
            time.sleep(0.1)  # while the others come to ask for it
            if len(fetched) == 1:
                raise errors.ImageError("the store was away")
            target.write_bytes(b"content")

        def copy(url):
            together.wait()
            return remote.local_copy(url)

        monkeypatch.setattr(remote, "_fetch", fetch)
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(copy, "memory://wanted by all.txt") for _ in range(4)]:
                with pytest.raises(errors.ImageError, match="away"):
                    done.result()
            assert len(fetched) == 1
            paths = set(pool.map(copy, ["memory://wanted by all.txt"] * 4))
        assert paths == {fetched[1]}  # once more after the error, and for all

    def test_an_image_by_its_url(self, memory):
        content = plates.truth()["A01", "1"]
        with memory.open("/a.npy", "wb") as file:
            np.save(file, content)
        assert (open_images("memory://a.npy")[0].pixels == content).all()

    def test_copies_are_no_files_of_an_image(self, memory):
        npy = BytesIO()
        np.save(npy, np.ones((2, 1, 8, 8), np.uint8))
        memory.pipe_file("/images.npy", npy.getvalue())
        dataset = open_images("memory://images.npy")
        assert dataset[1].pixels.shape == (1, 8, 8)
        assert files_of(dataset.read, 1) == []

    def test_a_file_that_is_not_there(self, memory):
        with pytest.raises(errors.ImageError, match=r"memory://gone\.tif is not there"):
            open_images("memory://gone.tif")

    def test_a_package_that_is_not_there(self, monkeypatch):
        def without(url, **_):
            raise ImportError("Install s3fs to access S3")

        monkeypatch.setattr(fsspec.core, "url_to_fs", without)
        with pytest.raises(
            errors.MissingExtraError,
            match=r'pip install "microscopy-zoo\[remote\]".*--path .s3://b=',
        ):
            open_images("s3://b/a.tif")


def test_a_web_server(tmp_path):
    pytest.importorskip("aiohttp", reason='URLs need aiohttp: pip install "microscopy-zoo[remote]"')
    with LoopbackStore(stored(tmp_path, "images ü")) as store:
        check(open_images(f"{store.endpoint}/bucket/load_data.csv"))
        assert sum(r.endswith("A01_s1.ome.tif") and r[:3] == "GET" for r in store.requests) == 1
        with pytest.raises(errors.ImageError, match=r"/bucket/gone\.tif is not there"):
            open_images(f"{store.endpoint}/bucket/gone.tif")
    with pytest.raises(errors.ImageError, match=r"cannot be reached"):
        open_images(f"{store.endpoint}/bucket/other.tif")


def test_a_bucket(tmp_path, monkeypatch):
    s3fs = pytest.importorskip(
        "s3fs", reason='s3:// needs s3fs: pip install "microscopy-zoo[remote]"'
    )
    with LoopbackStore(stored(tmp_path, "s3://bucket/images ü/")) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        s3fs.S3FileSystem.clear_instance_cache()
        check(open_images("s3://bucket/load_data.csv"))
    s3fs.S3FileSystem.clear_instance_cache()
