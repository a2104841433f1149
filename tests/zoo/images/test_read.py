"""Image files of every kind, written here with known pixels, whole and broken."""

import contextlib
import importlib.util
import logging
import struct
import threading
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from zoo import errors
from zoo._images.read import read_image

H, W = 20, 24


def noise(count=3, dtype="u2", top=4096, seed=0):
    shape = (count, H, W) if count else (H, W)
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def write(path, pixels, **arguments):
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **arguments})
    return path


COLOURS = ("red", "green", "blue")


def check(path, wanted, stains=None):
    found = read_image(path)
    assert found.pixels.shape == wanted.shape
    assert found.pixels.dtype == wanted.dtype.newbyteorder("=")
    assert (found.pixels == wanted).all()
    assert found.pixels.flags.c_contiguous
    assert found.stains == stains


def pages(path, planes, **arguments):
    """One page after the other, as software writes them that knows no stacks."""
    with tifffile.TiffWriter(path, **arguments.pop("writer", {})) as file:
        for plane in planes:
            file.write(plane, photometric="minisblack", **arguments)
    return path


class TestTiff:
    @pytest.mark.parametrize("count", [1, 2, 3, 7])
    @pytest.mark.parametrize("dtype", ["u1", "u2", "f4", ">u2", ">f4", "i2", "f2", "f8"])
    def test_stacks_of_all_types(self, tmp_path, count, dtype):
        stack = noise(count, dtype, 120) - (60 if dtype == "i2" else 0)
        order = {"byteorder": ">"} if dtype.startswith(">") else {}
        check(write(tmp_path / "a.tif", stack, **order), stack)

    @pytest.mark.parametrize("suffix", [".tif", ".tiff", ".TIF", ".ome.tif"])
    def test_a_single_plane_gets_a_channel_axis(self, tmp_path, suffix):
        plane = noise(0)
        check(write(tmp_path / f"a{suffix}", plane, metadata=None), plane[None])

    def test_floats_keep_what_is_no_integer(self, tmp_path):
        stack = np.linspace(-1.5, 7, 3 * H * W, dtype=np.float32).reshape(3, H, W)
        check(write(tmp_path / "a.tif", stack), stack)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"compression": "zlib"},
            {"compression": "zlib", "predictor": True},
            {"tile": (16, 16)},
            {"rowsperstrip": 3},
            {"bigtiff": True},
            {"bigtiff": True, "byteorder": ">"},
            {"metadata": None},
            {"metadata": None, "compression": "zlib"},
            {"imagej": True, "metadata": {"axes": "CYX"}},
            {"imagej": True, "byteorder": ">", "metadata": {"axes": "CYX", "mode": "composite"}},
            {"ome": True, "metadata": {"axes": "CYX"}},
        ],
        ids=lambda a: " ".join(a),
    )
    def test_however_a_stack_is_stored(self, tmp_path, arguments):
        stack = noise(3)
        check(write(tmp_path / "a.tif", stack, **arguments), stack)

    @pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
    def test_axes_are_put_in_order_by_name(self, tmp_path, dtype):
        stack = noise(5, dtype, 200)
        last = np.ascontiguousarray(np.moveaxis(stack, 0, -1))
        check(write(tmp_path / "a.tif", last, metadata={"axes": "YXC"}), stack)
        middle = np.ascontiguousarray(np.moveaxis(stack, 0, 1))
        check(write(tmp_path / "b.tif", middle, metadata={"axes": "YCX"}), stack)

    @pytest.mark.parametrize("axes", ["TCYX", "ZCYX", "TZCYX", "CZYX"])
    def test_axes_of_length_one_vanish(self, tmp_path, axes):
        stack = noise(3)
        shape = [{"C": 3, "Y": H, "X": W}.get(a, 1) for a in axes]
        arguments = {"imagej": True} if axes != "CZYX" else {"ome": True}
        path = write(tmp_path / "a.tif", stack.reshape(shape), metadata={"axes": axes}, **arguments)
        check(path, stack)

    @pytest.mark.parametrize("axes", ["ZYX", "TYX", "ZCYX", "TZCYX"])
    def test_depth_and_time_are_refused(self, tmp_path, axes):
        shape = [{"C": 3, "Y": H, "X": W}.get(a, 2) for a in axes]
        stack = np.zeros(shape, np.uint16)
        path = write(tmp_path / "deep.tif", stack, imagej=True, metadata={"axes": axes})
        with pytest.raises(errors.ImageError, match=rf"deep\.tif has the axes {axes} .*project"):
            read_image(path)

    @pytest.mark.parametrize("planar", ["contig", "separate"])
    def test_colours_are_channels(self, tmp_path, planar):
        stack = noise(3, "u1", 256)
        stored = np.moveaxis(stack, 0, -1) if planar == "contig" else stack
        path = write(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
        check(path, stack, COLOURS)

    def test_samples_that_are_not_said_to_be_colours_have_no_names(self, tmp_path):
        stack = noise(3, "u2", 65536)
        path = write(tmp_path / "a.tif", np.moveaxis(stack, 0, -1), planarconfig="contig")
        check(path, stack)

    def test_all_samples_are_kept_for_a_fourth_stain_looks_like_transparency(self, tmp_path):
        stack = noise(4, "u1", 256)
        check(write(tmp_path / "a.tif", np.moveaxis(stack, 0, -1), photometric="rgb"), stack)

    def test_pages_without_names_are_channels(self, tmp_path):
        stack = noise(3)
        check(pages(tmp_path / "a.tif", stack, metadata=None), stack)
        check(pages(tmp_path / "b.tif", stack), stack)
        check(pages(tmp_path / "c.tif", stack, contiguous=True), stack)
        pictures = [Picture.fromarray(plane) for plane in stack]
        pictures[0].save(tmp_path / "d.tif", save_all=True, append_images=pictures[1:])
        check(tmp_path / "d.tif", stack)

    def test_several_images_in_one_file_are_refused(self, tmp_path):
        path = pages(tmp_path / "many.ome.tif", noise(3), writer={"ome": True})
        with pytest.raises(errors.ImageError, match=r"many\.ome\.tif holds 3 images"):
            read_image(path)

    def test_pages_of_different_types_are_refused(self, tmp_path):
        mixed = [noise(0), noise(0, "u1", 200)]
        with pytest.raises(errors.ImageError, match=r"mixed\.tif holds 2 images .*uint16.*uint8"):
            read_image(pages(tmp_path / "mixed.tif", mixed, metadata=None))

    def test_a_thumbnail_is_no_channel(self, tmp_path):
        plane = noise(0)
        check(pages(tmp_path / "a.tif", [plane, plane[::2, ::2]], metadata=None), plane[None])

    def test_a_pyramid_is_read_at_full_size(self, tmp_path):
        stack = noise(3)
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
            names = {"axes": "CYX", "Channel": {"Name": ["a", "b", "c"]}}
            file.write(stack, photometric="minisblack", subifds=1, metadata=names)
            file.write(stack[:, ::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
        check(tmp_path / "a.ome.tif", stack, ("a", "b", "c"))

    def test_a_missing_codec_is_named_with_its_mend(self, tmp_path):
        Picture.fromarray(noise(0)).save(tmp_path / "lzw.tif", compression="tiff_lzw")
        if importlib.util.find_spec("imagecodecs"):
            check(tmp_path / "lzw.tif", noise(0)[None])
        else:
            with pytest.raises(errors.ImageError, match=r"lzw\.tif .*imagecodecs: pip install"):
                read_image(tmp_path / "lzw.tif")


class TestStains:
    @pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
    def test_ome_channel_names_become_stains(self, tmp_path, dtype):
        stack, names = noise(3, dtype, 200), ["DNA", "β-tubulin", "FKHR-GFP"]
        metadata = {"axes": "CYX", "Channel": {"Name": names}}
        check(write(tmp_path / "a.ome.tif", stack, metadata=metadata), stack, tuple(names))

    @pytest.mark.parametrize("axes", ["TZCYX", "CZYX", "CTYX"])
    def test_names_stay_with_their_channels_among_other_axes(self, tmp_path, axes):
        stack, names = noise(5), list("abcde")
        shape = [{"C": 5, "Y": H, "X": W}.get(a, 1) for a in axes]
        metadata = {"axes": axes, "Channel": {"Name": names}}
        path = write(tmp_path / "a.ome.tif", stack.reshape(shape), metadata=metadata)
        check(path, stack, tuple(names))

    def test_incomplete_names_are_no_names(self, tmp_path):
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="24" SizeY="20" '
            'SizeC="2" SizeZ="1" SizeT="1"><Channel ID="C:0" Name="DNA"/><Channel ID="C:1"/>'
            "<TiffData/></Pixels></Image></OME>"
        )
        stack = noise(2)
        check(write(tmp_path / "a.ome.tif", stack, description=text, metadata=None), stack)

    def test_a_broken_ome_description_costs_the_names_only(self, tmp_path):
        stack = noise(2)
        text = "<OME><Image><Pixels></Image></OME>"
        check(write(tmp_path / "a.ome.tif", stack, description=text, metadata=None), stack)

    def test_names_of_colour_images_that_do_not_count_the_samples_are_dropped(self, tmp_path):
        stack = noise(3, "u1", 256)
        path = write(
            tmp_path / "a.ome.tif",
            np.moveaxis(stack, 0, -1),
            photometric="rgb",
            metadata={"axes": "YXS", "Channel": {"Name": ["H&E"]}},
        )
        check(path, stack, COLOURS)


WRITERS = {
    "stack": lambda p, s: write(p, s),
    "deflate": lambda p, s: write(p, s, compression="zlib"),
    "tiles": lambda p, s: write(p, s, tile=(16, 16)),
    "big": lambda p, s: write(p, s, bigtiff=True),
    "imagej": lambda p, s: write(p, s, imagej=True, metadata={"axes": "CYX"}),
    "pages": lambda p, s: pages(p, s, metadata=None),
    "loose pages": lambda p, s: pages(p, s),
    "ome": lambda p, s: write(
        p, s, ome=True, metadata={"axes": "CYX", "Channel": {"Name": list("abc")}}
    ),
}


class TestBrokenTiff:
    """A file that breaks off is an error at any byte: tifffile alone gives the pages before."""

    @pytest.mark.parametrize("writer", [*WRITERS, "pillow", "pillow deflate"])
    def test_truncated_anywhere(self, tmp_path, writer):
        stack, path = noise(3), tmp_path / "whole.tif"
        if writer in WRITERS:
            WRITERS[writer](path, stack)
        else:
            pictures = [Picture.fromarray(plane) for plane in stack]
            compression = "tiff_adobe_deflate" if "deflate" in writer else None
            arguments = {"save_all": True, "append_images": pictures[1:]}
            pictures[0].save(path, compression=compression, **arguments)
        content, whole = path.read_bytes(), read_image(path)
        part = tmp_path / "part.tif"
        for length in [*range(0, len(content), 53), len(content) - 9]:
            part.write_bytes(content[:length])
            if length > len(content) - 60:  # the last bytes may be padding: all or nothing
                with contextlib.suppress(errors.ImageError):
                    found = read_image(part)
                    assert found.stains == whole.stains
                    assert np.array_equal(found.pixels, whole.pixels)
            else:
                with pytest.raises(errors.ImageError, match=r"part\.tif"):
                    read_image(part)

    def test_the_message_asks_whether_it_is_truncated(self, tmp_path):
        for name, length in (("a.tif", 5), ("b.tif", 1200), ("c.tif", 0)):
            content = pages(tmp_path / name, noise(3), metadata=None).read_bytes()
            (tmp_path / name).write_bytes(content[:length])
            with pytest.raises(errors.ImageError, match=rf"{name[0]}\.tif .*is it truncated\?"):
                read_image(tmp_path / name)

    def test_pages_in_a_circle(self, tmp_path):
        content = bytearray(write(tmp_path / "circle.tif", noise(0), metadata=None).read_bytes())
        start = int.from_bytes(content[4:8], "little")
        end = start + 2 + 12 * int.from_bytes(content[start : start + 2], "little")
        content[end : end + 4] = content[4:8]
        (tmp_path / "circle.tif").write_bytes(content)
        with pytest.raises(errors.ImageError, match=r"circle\.tif"):
            read_image(tmp_path / "circle.tif")

    def test_an_ome_set_without_its_other_files_is_not_filled_with_black(self, tmp_path):
        stack = noise(2)
        ids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(2)]
        parts = "".join(
            f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="c{i}.ome.tif">{ids[i]}'
            "</UUID></TiffData>"
            for i in range(2)
        )
        for i in range(2):
            text = (
                '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
                f'UUID="{ids[i]}"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" '
                'DimensionOrder="XYCZT" SizeX="24" SizeY="20" SizeC="2" SizeZ="1" SizeT="1">'
                f'<Channel ID="C:0" Name="DNA"/><Channel ID="C:1" Name="ER"/>{parts}</Pixels>'
                "</Image></OME>"
            )
            write(tmp_path / f"c{i}.ome.tif", stack[i], description=text, metadata=None)
        check(tmp_path / "c0.ome.tif", stack, ("DNA", "ER"))
        (tmp_path / "c1.ome.tif").unlink()
        with pytest.raises(errors.ImageError, match=r"c0\.ome\.tif lacks planes"):
            read_image(tmp_path / "c0.ome.tif")

    def test_nothing_is_logged_and_others_still_log(self, tmp_path, caplog):
        content = write(tmp_path / "a.tif", noise(3), imagej=True).read_bytes()
        (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
        logger = logging.getLogger("tifffile")
        with caplog.at_level(logging.DEBUG):
            with pytest.raises(errors.ImageError):
                read_image(tmp_path / "a.tif")
            assert caplog.records == []
            level, filters = logger.level, list(logger.filters)
            logger.error("mine")
        assert [r.getMessage() for r in caplog.records] == ["mine"]
        assert (level, filters) == (logging.NOTSET, [])

    def test_threads_keep_their_logs(self, tmp_path, caplog):
        from zoo._images.tiff import unlogged

        with unlogged("tifffile"):
            thread = threading.Thread(target=logging.getLogger("tifffile").error, args=("theirs",))
            thread.start()
            thread.join()
            logging.getLogger("tifffile").error("ours")
        assert [r.getMessage() for r in caplog.records] == ["theirs"]


class TestPictures:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG"])
    def test_grey_is_one_channel(self, tmp_path, suffix):
        plane = noise(0, "u1", 256)
        Picture.fromarray(plane).save(tmp_path / f"a{suffix}")
        check(tmp_path / f"a{suffix}", plane[None])

    @pytest.mark.parametrize("suffix", [".png", ".bmp"])
    def test_colour_is_three_channels(self, tmp_path, suffix):
        stack = noise(3, "u1", 256)
        Picture.fromarray(np.moveaxis(stack, 0, -1).copy()).save(tmp_path / f"a{suffix}")
        check(tmp_path / f"a{suffix}", stack, COLOURS)

    def test_16_bit_png_keeps_its_16_bits(self, tmp_path):
        plane = noise(0, "u2", 65536)
        Picture.fromarray(plane).save(tmp_path / "a.png")
        check(tmp_path / "a.png", plane[None])

    @pytest.mark.parametrize(("kind", "samples"), [(2, 3), (4, 2), (6, 4)])
    def test_16_bit_colour_is_refused_where_it_would_be_cut_to_8(self, tmp_path, kind, samples):
        rows = noise(samples, "u2", 65536).transpose(1, 2, 0).astype(">u2").tobytes()
        width = 2 * samples * W
        lines = b"".join(b"\0" + rows[i * width : (i + 1) * width] for i in range(H))
        content = b"\x89PNG\r\n\x1a\n"
        header = struct.pack(">IIBBBBB", W, H, 16, kind, 0, 0, 0)
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
            checksum = struct.pack(">I", zlib.crc32(name + data))
            content += struct.pack(">I", len(data)) + name + data + checksum
        (tmp_path / "deep.png").write_bytes(content)
        with pytest.raises(errors.ImageError, match=r"deep\.png has 16 bits a colour.*TIFF"):
            read_image(tmp_path / "deep.png")

    @pytest.mark.parametrize(("mode", "count"), [("L", 1), ("RGB", 3), ("CMYK", 3)])
    @pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
    def test_jpeg_is_near_what_was_written(self, tmp_path, mode, count, suffix):
        ramp = np.add.outer(np.arange(H), np.arange(W)).astype(np.uint8) * 3
        stack = np.stack([ramp, ramp // 2, 255 - ramp])[:count]
        picture = Picture.fromarray(np.moveaxis(stack, 0, -1).squeeze().copy()).convert(mode)
        picture.save(tmp_path / f"a{suffix}", quality=100, subsampling=0)
        found = read_image(tmp_path / f"a{suffix}").pixels
        assert found.shape == stack.shape
        # Quality 100 rounds each coefficient of an 8 × 8 block by up to a half: a few levels.
        assert np.abs(found.astype(int) - stack).max() <= 6

    @pytest.mark.parametrize("transparency", [None, 3, bytes(range(16))])
    def test_palettes_are_looked_up(self, tmp_path, transparency):
        indices = noise(0, "u1", 16)
        colours = noise(0, "u1", 256).ravel()[:48].reshape(16, 3)
        picture = Picture.fromarray(indices)
        picture.putpalette(colours.tobytes())
        extra = {} if transparency is None else {"transparency": transparency}
        picture.save(tmp_path / "a.png", **extra)
        check(tmp_path / "a.png", np.moveaxis(colours[indices], -1, 0), COLOURS)

    @pytest.mark.parametrize(("mode", "count"), [("RGBA", 3), ("LA", 1)])
    def test_transparency_is_dropped(self, tmp_path, mode, count):
        stack = noise(len(mode), "u1", 256)
        Picture.fromarray(np.moveaxis(stack, 0, -1).copy()).save(tmp_path / "a.png")
        check(tmp_path / "a.png", stack[:count], COLOURS if count == 3 else None)

    @pytest.mark.parametrize("suffix", [".png", ".bmp"])
    def test_one_bit_is_black_and_white(self, tmp_path, suffix):
        mask = noise(0, "u1", 2)
        Picture.fromarray(mask.astype(bool)).save(tmp_path / f"a{suffix}")
        check(tmp_path / f"a{suffix}", mask[None] * np.uint8(255))

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
    def test_truncated_anywhere(self, tmp_path, suffix):
        stack = noise(3, "u1", 256)
        path = tmp_path / f"part{suffix}"
        Picture.fromarray(np.moveaxis(stack, 0, -1).copy()).save(path)
        content = path.read_bytes()
        for length in range(0, len(content) - 24, 31):  # PNG: the end marker may be missing
            path.write_bytes(content[:length])
            with pytest.raises(errors.ImageError, match=rf"part\{suffix} .*is it truncated\?"):
                read_image(path)


class TestAnyFile:
    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(errors.ImageError, match=r"gone\.tif is missing"):
            read_image(tmp_path / "gone.tif")

    def test_a_folder_is_not_a_file(self, tmp_path):
        (tmp_path / "a.tif").mkdir()
        with pytest.raises(errors.ImageError, match=r"a\.tif is not a file"):
            read_image(tmp_path / "a.tif")

    @pytest.mark.parametrize("name", ["a.dat", "a", "a.txt", "a.tif.gz"])
    def test_other_formats_are_refused_with_a_list(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(errors.ImageError, match=r"none of the formats \.tif, .*\.bmp"):
            read_image(tmp_path / name)

    @pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".bmp"])
    @pytest.mark.parametrize("content", [b"", b"hello, I am text", bytes(3000)])
    def test_what_is_no_image_is_named(self, tmp_path, suffix, content):
        (tmp_path / f"odd{suffix}").write_bytes(content)
        with pytest.raises(errors.ImageError, match=rf"odd\{suffix} cannot be read"):
            read_image(tmp_path / f"odd{suffix}")

    def test_reading_leaves_no_file_open(self, tmp_path):
        # Warnings are errors here, an unclosed file among them.
        for path in (write(tmp_path / "a.tif", noise(3)), tmp_path / "b.png"):
            Picture.fromarray(noise(0, "u1")).save(tmp_path / "b.png")
            read_image(path)
            path.unlink()


class TestOneFilePerChannel:
    @pytest.mark.parametrize("suffix", [".tif", ".png", ".bmp"])
    def test_files_are_joined_in_the_order_given(self, tmp_path, suffix):
        stack = noise(3, "u1", 256)
        paths = [tmp_path / f"{name}{suffix}" for name in "zax"]
        for path, plane in zip(paths, stack, strict=True):
            Picture.fromarray(plane).save(path)
        check(paths, stack)
        check([str(p) for p in paths[::-1]], stack[::-1])

    def test_files_of_several_channels_count_as_many(self, tmp_path):
        first, second = noise(2), noise(3, seed=1)
        paths = [write(tmp_path / "a.tif", first), write(tmp_path / "b.tif", second)]
        check(paths, np.concatenate([first, second]))

    def test_stains_are_joined_where_all_are_known(self, tmp_path):
        stack = noise(3)
        paths = []
        for name, planes in (("DNA", stack[:1]), ("ER", stack[1:2]), (None, stack[2:])):
            names = {"Channel": {"Name": [name]}} if name else {}
            metadata = {"axes": "CYX", **names}
            paths.append(write(tmp_path / f"{name}.ome.tif", planes, metadata=metadata))
        check(paths[:2], stack[:2], ("DNA", "ER"))
        check(paths, stack)

    @pytest.mark.parametrize(
        "other", [noise(1)[:, :-1], noise(1)[:, :, 1:], noise(1).astype("f4"), noise(1, "u1", 9)]
    )
    def test_files_that_differ_are_refused_by_name(self, tmp_path, other):
        paths = [write(tmp_path / "a.tif", noise(1)), write(tmp_path / "b.tif", other)]
        with pytest.raises(errors.ImageError, match=r"a\.tif, .*b\.tif have the sizes"):
            read_image(paths)

    def test_the_missing_one_is_named(self, tmp_path):
        with pytest.raises(errors.ImageError, match=r"b\.tif is missing"):
            read_image([write(tmp_path / "a.tif", noise(1)), tmp_path / "b.tif"])

    def test_no_file_is_no_image(self):
        with pytest.raises(errors.ImageError, match="at least one file"):
            read_image([])
