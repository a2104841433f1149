"""Files that bioio reads: through a stand-in of it, and through it where it is installed."""

import sys
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import plates
import pytest

from zoo import errors
from zoo._data import bioio_images
from zoo._data.sources import open_images, open_source


class StandIn:
    """Two scenes of two channels and three depths, as `bioio.BioImage` gives them."""

    names = ("DNA", "ER")
    times = 1
    sizes = SimpleNamespace(X=0.5, Y=0.5)
    metadata = ElementTree.fromstring("<M><SizeS>2</SizeS></M>")
    scenes = ("first", "second")

    def __init__(self, path, reader):
        if path.stat().st_size == 0:
            raise ValueError("file is empty\nand more")
        self.place = 0

    def set_scene(self, place):
        self.place = place

    @property
    def data(self):
        stack = np.arange(6, dtype=np.uint16).reshape(1, 2, 3, 1, 1) + 100 * self.place
        return np.tile(stack, (self.times, 1, 1, 4, 5))

    dims = SimpleNamespace(order="TCZYX")
    channel_names = property(lambda self: self.names)
    physical_pixel_sizes = property(lambda self: self.sizes)


@pytest.fixture
def stand_in(monkeypatch):
    class Own(StandIn):
        pass

    for name in ("bioio", "bioio_nd2", "bioio_lif", "bioio_czi"):
        module = ModuleType(name)
        module.BioImage, module.Reader = Own, object
        monkeypatch.setitem(sys.modules, name, module)
    bioio_images._opened.cache_clear()
    yield Own
    bioio_images._opened.cache_clear()


@pytest.mark.parametrize("suffix", [".nd2", ".LIF", ".czi"])
def test_scenes_are_images(tmp_path, stand_in, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"x")
    dataset = open_images(path, z="max")
    assert dataset.metadata["image"].tolist() == [f"a{suffix} first", f"a{suffix} second"]
    assert dataset[1].pixels[:, 0, 0].tolist() == [102, 105]
    assert dataset[0].pixels[:, 0, 0].tolist() == [2, 5]
    assert (dataset[0].stains, dataset[0].pixel_size) == (("DNA", "ER"), 0.5)
    with pytest.raises(errors.ImageError, match=r"scene 1 of .*for depth, choose with z="):
        open_images(path)[0]


def test_what_the_file_does_not_say_is_unknown(tmp_path, stand_in):
    (tmp_path / "a.nd2").write_bytes(b"x")
    stand_in.names, stand_in.sizes = ("Channel:0:0", "Channel:0:1"), SimpleNamespace(X=None, Y=None)
    image = open_images(tmp_path, z=1)[0]
    assert (image.stains, image.pixel_size) == (None, None)


def test_time_points_are_refused(tmp_path, stand_in):
    (tmp_path / "a.nd2").write_bytes(b"x")
    stand_in.times = 2
    with pytest.raises(errors.ImageError, match=r"has the axes TCYX"):
        open_images(tmp_path, z=1)[0]


def test_scenes_that_a_reader_does_not_see_are_refused(tmp_path, stand_in):
    (tmp_path / "a.czi").write_bytes(b"x")
    stand_in.scenes = ("first",)
    with pytest.raises(errors.DataError, match=r"a\.czi has 2 scenes, of which bioio-czi sees 1"):
        open_images(tmp_path / "a.czi")


def test_a_broken_file_is_named(tmp_path, stand_in):
    (tmp_path / "a.lif").write_bytes(b"")
    with pytest.raises(errors.DataError, match=r"a\.lif cannot be read \(file is empty\)"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    ("suffix", "package"), [(".nd2", "bioio-nd2"), (".lif", "bioio-lif"), (".czi", "bioio-czi")]
)
def test_without_bioio_the_line_to_install_is_said(tmp_path, monkeypatch, suffix, package):
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / f"b{suffix}").write_bytes(b"x")
    for path in (tmp_path, tmp_path / f"b{suffix}"):
        with pytest.raises(errors.MissingExtraError, match=rf"pip install bioio {package}"):
            open_images(path)


def test_bioio_itself_gives_what_is_asked_of_it(tmp_path, monkeypatch):
    """Its reader of OME-TIFF, since no ND2 file can be written."""
    pytest.importorskip("bioio", reason="ND2 and LIF need bioio: pip install bioio bioio-nd2")
    module = pytest.importorskip("bioio_ome_tiff", reason="pip install bioio-ome-tiff")
    monkeypatch.setitem(sys.modules, "bioio_nd2", module)
    plates.ome_tiff(tmp_path)
    (tmp_path / "A01_s1.ome.tif").rename(tmp_path / "a.nd2")
    bioio_images._opened.cache_clear()
    source = open_source(tmp_path / "a.nd2")
    image = source.dataset[0]
    assert source.kind == "scenes of 1 file(s), read by bioio"
    assert (image.pixels == plates.truth()["A01", "1"]).all()
    assert image.stains == plates.STAINS
    assert image.pixel_size == pytest.approx(plates.MICROMETRES)
