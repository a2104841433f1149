"""Stacks, depth, white zeros, pixel size and stains of TIFF files and arrays."""

import numpy as np
import pytest
import tifffile

from zoo import errors
from zoo._images.projection import check_z, project
from zoo._images.read import read_image
from zoo._images.tiff import read_page

H, W = 20, 24


def noise(*shape, dtype="u2"):
    return np.random.default_rng(0).integers(0, 4000, (*shape, H, W)).astype(dtype)


def write(path, pixels, **arguments):
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **arguments})
    return path


class TestReadings:
    def test_two_unnamed_axes_are_refused_with_their_readings(self, tmp_path):
        stack = noise(2, 3)
        path = write(tmp_path / "a.tif", stack)
        with pytest.raises(
            errors.ImageError,
            match=r"2 channels of 3 planes in depth each \(--axes CZYX\), or 2 .*--axes ZCYX",
        ):
            read_image(path)
        assert (read_image(path, axes="CZYX", z="max").pixels == stack.max(1)).all()
        assert (read_image(path, axes="ZCYX", z=2).pixels == stack[1]).all()

    @pytest.mark.parametrize("form", ["stack", "pages"])
    def test_as_many_planes_as_channels_of_depths_are_refused(self, tmp_path, form):
        stack = noise(6)
        if form == "stack":
            write(tmp_path / "a.tif", stack)
        else:
            with tifffile.TiffWriter(tmp_path / "a.tif") as file:
                for plane in stack:
                    file.write(plane, photometric="minisblack", metadata=None)
        with pytest.raises(
            errors.ImageError,
            match=r"6 channels \(--axes CYX\), or 6 planes in depth \(--axes ZYX\), or 2 channels "
            r"of 3 planes in depth each \(--axes C2Z3YX\), or 3 planes .*--axes Z3C2YX",
        ):
            read_image(tmp_path / "a.tif")
        assert (read_image(tmp_path / "a.tif", axes="CYX").pixels == stack).all()
        for channels in (6, "all"):
            assert (read_image(tmp_path / "a.tif", channels=channels).pixels == stack).all()
        found = read_image(tmp_path / "a.tif", axes="C2Z3YX", z="max").pixels
        assert (found == stack.reshape(2, 3, H, W).max(1)).all()

    @pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
    def test_other_numbers_are_channels(self, tmp_path, count):
        assert (read_image(write(tmp_path / "a.tif", noise(count))).pixels == noise(count)).all()

    def test_more_planes_than_stains_are_refused(self, tmp_path):
        path = write(tmp_path / "a.tif", noise(11))
        with pytest.raises(errors.ImageError, match=r"11 channels \(--axes CYX\), or 11 planes"):
            read_image(path)
        assert read_image(path, axes="CYX").pixels.shape == (11, H, W)
        assert (read_image(path, axes="zyx", z="middle").pixels == noise(11)[5:6]).all()

    def test_a_stack_that_imagej_does_not_name_is_refused(self, tmp_path):
        path = write(
            tmp_path / "a.tif", noise(6), description="ImageJ=1.53\nimages=6\n", metadata=None
        )
        with pytest.raises(errors.ImageError, match=r"6 planes that ImageJ does not name"):
            read_image(path)
        assert read_image(path, axes="CYX").pixels.shape == (6, H, W)

    def test_one_axis_is_split_by_lengths(self, tmp_path):
        stack = noise(6)
        path = write(tmp_path / "a.tif", stack)
        wanted = stack.reshape(3, 2, H, W)
        assert (read_image(path, axes="Z3C2YX", z="max").pixels == wanted.max(0)).all()
        with pytest.raises(errors.ImageError, match=r"lengths whose product fits"):
            read_image(path, axes="Z3C3YX")
        with pytest.raises(errors.ImageError, match=r"lengths whose product fits"):
            read_image(path, axes="ZCYX")

    @pytest.mark.parametrize("axes", ["CY", "CCYX", "QYX", "", "CYX "])
    def test_axes_that_are_none(self, tmp_path, axes):
        with pytest.raises(ValueError, match=r"must name each stored axis once"):
            read_image(write(tmp_path / "a.tif", noise(2)), axes=axes)

    def test_the_user_knows_better_than_the_file(self, tmp_path):
        stack = noise(3)
        path = write(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TYX"})
        with pytest.raises(errors.ImageError, match=r"axes TYX"):
            read_image(path)
        assert (read_image(path, axes="CYX").pixels == stack).all()

    def test_arrays_in_files(self, tmp_path):
        np.save(tmp_path / "a.npy", noise(2))
        np.savez(tmp_path / "b.npz", noise())
        np.save(tmp_path / "c.npy", noise(2, 3))
        np.savez(tmp_path / "d.npz", a=noise(2), b=noise(2))
        (tmp_path / "e.npy").write_bytes(b"")
        assert (read_image(tmp_path / "a.npy").pixels == noise(2)).all()
        assert read_image(tmp_path / "b.npz").pixels.shape == (1, H, W)
        with pytest.raises(errors.ImageError, match=r"--axes CZYX"):
            read_image(tmp_path / "c.npy")
        with pytest.raises(errors.ImageError, match=r"d\.npz holds 2 arrays"):
            read_image(tmp_path / "d.npz")
        with pytest.raises(errors.ImageError, match=r"e\.npy cannot be read"):
            read_image(tmp_path / "e.npy")


class TestDepth:
    @pytest.mark.parametrize("axes", ["ZYX", "ZCYX"])
    def test_depth_is_projected(self, tmp_path, axes):
        stack = noise(*[{"Z": 3, "C": 2}[a] for a in axes[:-2]])
        path = write(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": axes})
        for z, wanted in (
            ("max", stack.max(0)),
            ("middle", stack[1]),
            (3, stack[2]),
            ("1", stack[0]),
        ):
            assert (read_image(path, z=z).pixels == wanted.reshape(-1, H, W)).all()
        mean = read_image(path, z="mean").pixels
        assert mean.dtype == np.uint16
        assert (mean == np.rint(stack.mean(0)).reshape(-1, H, W)).all()
        with pytest.raises(errors.ImageError, match=r"has 3 plane\(s\) in depth, but z is 4"):
            read_image(path, z=4)
        with pytest.raises(errors.ImageError, match=r"--z max, mean, middle"):
            read_image(path)

    def test_an_image_without_depth_needs_no_choice(self, tmp_path):
        assert read_image(write(tmp_path / "a.tif", noise(2)), z="max").pixels.shape == (2, H, W)

    @pytest.mark.parametrize("z", ["all", 0, -1, "0", 1.5])
    def test_other_choices_are_refused(self, z):
        with pytest.raises(ValueError, match=r"must be max, mean, middle"):
            check_z(z)

    def test_floats_keep_their_mean(self):
        assert project(iter([np.array([1.0]), np.array([2.0])]), "mean").tolist() == [1.5]


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_where_0_is_white_pixels_are_inverted(tmp_path, dtype):
    plane = (noise() // 16).astype(dtype)
    top = np.iinfo(plane.dtype).max
    path = write(tmp_path / "a.tif", top - plane, photometric="miniswhite")
    assert (read_image(path).pixels[0] == plane).all()
    assert (read_page(path, 0).pixels[0] == plane).all()


def test_white_zeros_of_floats_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", noise(dtype="f4"), photometric="miniswhite")
    with pytest.raises(errors.ImageError, match=r"its 0 is white, but holds float32"):
        read_image(path)


def test_one_bit_is_black_and_white(tmp_path):
    mask = noise() > 2000
    assert (read_image(write(tmp_path / "a.tif", mask)).pixels[0] == mask * np.uint8(255)).all()


def metaseries(unit="um", state="On", stain="FITC"):
    rows = (
        ("spatial-calibration-state", "bool", state.lower()),
        ("spatial-calibration-x", "float", "0.65"),
        ("spatial-calibration-y", "float", "0.65"),
        ("spatial-calibration-units", "string", unit),
        ("_IllumSetting_", "string", stain),
    )
    props = "".join(f'<prop id="{i}" type="{t}" value="{v}"/>' for i, t, v in rows)
    return f"<MetaData><PlaneInfo>{props}</PlaneInfo></MetaData>"


class TestPixelSize:
    @pytest.mark.parametrize(("size", "unit"), [(0.65, "µm"), (650.0, "nm"), (6.5e-4, "mm")])
    def test_ome(self, tmp_path, size, unit):
        metadata = {"axes": "CYX", "PhysicalSizeX": size, "PhysicalSizeY": size}
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
        path = write(tmp_path / "a.ome.tif", noise(2), metadata=metadata)
        assert read_image(path).pixel_size == pytest.approx(0.65)
        assert read_page(path, 1).pixel_size == pytest.approx(0.65)

    @pytest.mark.parametrize(
        "metadata",
        [
            {"PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel"},
            {"PhysicalSizeX": 1, "PhysicalSizeXUnit": "reference frame"},
            {"PhysicalSizeX": 0.5, "PhysicalSizeY": 1.0},
            {},
        ],
    )
    def test_ome_without_a_length_is_unknown(self, tmp_path, metadata):
        path = write(tmp_path / "a.ome.tif", noise(2), metadata={"axes": "CYX", **metadata})
        assert read_image(path).pixel_size is None

    @pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
    def test_imagej(self, tmp_path, unit):
        metadata = {"axes": "CYX", "unit": unit, "Labels": ["FKHR-GFP", "DNA"]}
        path = write(
            tmp_path / "a.tif",
            noise(2),
            imagej=True,
            resolution=(1 / 0.65, 1 / 0.65),
            metadata=metadata,
        )
        image = read_image(path)
        assert image.pixel_size == pytest.approx(0.65)
        assert image.stains == ("FKHR-GFP", "DNA")

    @pytest.mark.parametrize("said", [{}, {"unit": "pixel"}, {"unit": "inch"}])
    def test_imagej_without_a_unit_is_unknown(self, tmp_path, said):
        metadata = {"axes": "CYX", **said}
        path = write(
            tmp_path / "a.tif", noise(2), imagej=True, resolution=(2, 2), metadata=metadata
        )
        assert read_image(path).pixel_size is None

    def test_metaxpress(self, tmp_path):
        path = write(tmp_path / "a.tif", noise(), description=metaseries(), metadata=None)
        assert read_image(path).pixel_size == pytest.approx(0.65)
        assert read_image(path).stains == ("FITC",)
        path = write(
            tmp_path / "b.tif", noise(), description=metaseries(state="Off"), metadata=None
        )
        assert read_image(path).pixel_size is None

    def test_svs(self, tmp_path):
        text = "Aperio Image Library v10\n46000x32914 -> 1024x732|AppMag = 20|MPP = 0.4990"
        path = write(tmp_path / "a.tif", noise(), description=text, metadata=None)
        assert read_image(path).pixel_size == pytest.approx(0.499)

    def test_the_resolution_tag_alone_is_no_source(self, tmp_path):
        path = write(
            tmp_path / "a.tif", noise(), resolution=(1550.3, 1550.3), resolutionunit="CENTIMETER"
        )
        assert read_image(path).pixel_size is None


class TestLabels:
    def read(self, folder, labels, axes="CYX"):
        stack = noise(2) if axes == "CYX" else noise(3, 2)
        metadata = {"axes": axes, "Labels": labels}
        return read_image(write(folder / "a.tif", stack, imagej=True, metadata=metadata), z="max")

    def test_labels_of_the_first_slice_name_the_channels(self, tmp_path):
        assert self.read(tmp_path, ["GFP", "DNA"] * 3, "ZCYX").stains == ("GFP", "DNA")
        labels = [f"c:{c}/2 z:{z}/3 - {n}" for z in (1, 2, 3) for c, n in ((1, "GFP"), (2, "DNA"))]
        assert self.read(tmp_path, labels, "ZCYX").stains == ("GFP", "DNA")

    @pytest.mark.parametrize(
        "labels", [["a.tif", "a.tif"], ["c:1/2 - a.tif", "c:2/2 - a.tif"], ["", "x"]]
    )
    def test_labels_that_tell_no_channels_apart_are_no_stains(self, tmp_path, labels):
        assert self.read(tmp_path, labels).stains is None


class TestPages:
    def test_pages_are_counted_from_0(self, tmp_path):
        stack = noise(3)
        path = write(tmp_path / "a.ome.tif", stack, metadata={"axes": "CYX"})
        assert (read_page(path, 2).pixels == stack[2:]).all()
        with pytest.raises(errors.ImageError, match=r"has 3 page\(s\) .* page 3 of series 0"):
            read_page(path, 3)
        with pytest.raises(errors.ImageError, match=r"page 0 of series 1"):
            read_page(path, 0, 1)


@pytest.mark.parametrize(
    ("suffix", "package"), [(".nd2", "bioio-nd2"), (".lif", "bioio-lif"), (".CZI", "bioio-czi")]
)
def test_other_formats_name_the_line_to_install(tmp_path, suffix, package):
    (tmp_path / f"a{suffix}").write_bytes(b"x")
    with pytest.raises(errors.ImageError, match=rf"pip install bioio {package}"):
        read_image(tmp_path / f"a{suffix}")
