"""One small plate, written as microscopes and pipelines write it."""

from pathlib import Path

import numpy as np
import tifffile

PLATE = "Platte ü 001"
MICROMETRES = 0.65
STAINS = ("GFP", "DNA")
DYES = ("Alexa 488", "HOECHST 33342")
WELLS = (("A01", 1, 1), ("B12", 2, 12))
SITES = (1, 2)
GUID = "5D6FB4E4-0F8B-4A0B-9D1C-1B5B0F2A7C3E"


def truth(depth=1):
    """Pixels of each image, `(C, H, W)`, or `(C, Z, H, W)` with depth, by well and site."""
    rng = np.random.default_rng(0)
    shape = (2, 24, 32) if depth == 1 else (2, depth, 24, 32)
    return {
        (well, str(site)): rng.integers(0, 4096, shape).astype(np.uint16)
        for well, _, _ in WELLS
        for site in SITES
    }


def write(path, plane, **arguments):
    path.parent.mkdir(parents=True, exist_ok=True)
    arguments = {"photometric": "minisblack", "metadata": None, **arguments}
    tifffile.imwrite(path, plane, **arguments)
    return path


def planes(depth=1):
    """Yield well, row, column, site, channel from 1, depth from 1, and pixels."""
    pixels = truth(depth)
    for well, row, column in WELLS:
        for site in SITES:
            for c in (0, 1):
                found = pixels[well, str(site)][c]
                for z, plane in enumerate(found if depth > 1 else found[None], 1):
                    yield well, row, column, site, c + 1, z, plane


def metaxpress(stain):
    """Return the description that MetaXpress writes into a TIFF."""
    said = {
        "spatial-calibration-state": "true",
        "spatial-calibration-x": MICROMETRES,
        "spatial-calibration-y": MICROMETRES,
        "spatial-calibration-units": "um",
        "_IllumSetting_": stain,
    }
    props = "".join(f'<prop id="{k}" type="string" value="{v}"/>' for k, v in said.items())
    return f"<MetaData><PlaneInfo>{props}</PlaneInfo></MetaData>"


def imagexpress(folder, *, settings=True, depth=1):
    """``TimePoint_1/plate_A01_s1_w1GUID.TIF``, thumbnails, and a HTD file unless left away."""
    for well, _, _, site, c, z, plane in planes(depth):
        place = folder / "TimePoint_1" / (f"ZStep_{z}" if depth > 1 else "")
        name = f"{PLATE}_{well}_s{site}_w{c}"
        write(place / f"{name}{GUID}.TIF", plane, description=metaxpress(DYES[c - 1]))
        write(place / f"{name}_thumb{GUID}.TIF", plane[::4, ::4])
    if settings:
        rows = ['"HTSInfoFile", Version 1.0', '"XWells", 12', '"NWavelengths", 2']
        rows += [f'"WaveName{c}", "{dye}"' for c, dye in enumerate(DYES, 1)]
        content = "\r\n".join([*rows, '"EndFile"'])
        (folder / f"{PLATE}.HTD").write_bytes(content.encode("latin-1"))
    return folder


def harmony(folder, *, version=5, index=True, depth=1):
    """``Images/r01c01f01p01-ch1sk1fk1fl1.tiff`` and its index."""
    images = folder / f"{PLATE}__2026-01-01T10_00_00-Measurement 1" / "Images"
    common, entries = [], []
    for c, dye in enumerate(DYES, 1):
        common.append(
            f"<ChannelName>{dye}</ChannelName>"
            f'<ImageResolutionX Unit="m">{MICROMETRES}E-06</ImageResolutionX>'
            f'<ImageResolutionY Unit="m">{MICROMETRES}E-06</ImageResolutionY>'
        )
        said = common[-1] if version == 7 else "<FlatfieldProfile>{}</FlatfieldProfile>"
        entries.append(f'<Map><Entry ChannelID="{c}">{said}</Entry></Map>')
    listed = []
    for _, row, column, site, c, z, plane in planes(depth):
        end = f"ch{c}sk1fk1fl1" if version == 5 else f"ch{c:02d}t01"
        name = f"r{row:02d}c{column:02d}f{site:02d}p{z:02d}-{end}.tiff"
        # The resolution tag is wrong, as in the real files.
        write(images / name, plane, resolution=(1550.3, 1550.3), resolutionunit="CENTIMETER")
        listed.append(
            f"<Image><id>x</id><State>Ok</State><URL>{name}</URL><Row>{row}</Row><Col>{column}</Col>"
            f"<FieldID>{site}</FieldID><PlaneID>{z}</PlaneID><TimepointID>0</TimepointID>"
            f"<ChannelID>{c}</ChannelID>{common[c - 1] if version == 5 else ''}</Image>"
        )
    space = "http://www.perkinelmer.com/PEHH/HarmonyV5"
    space = space if version == 5 else "43B2A954-E3C3-47E1-B392-6635266B0DD3/HarmonyV7"
    text = (
        f'<?xml version="1.0" encoding="utf-8"?><EvaluationInputData xmlns="{space}" Version="1">'
        f"<Plates><Plate><PlateID>{PLATE}</PlateID><Name>{PLATE}</Name></Plate></Plates>"
        '<Wells><Well><id>0101</id><Image id="0101K1F1P1R1" /></Well></Wells>'
        f"<Maps>{''.join(entries)}</Maps><Images>{''.join(listed)}</Images></EvaluationInputData>"
    )
    if index:
        name = "Index.idx.xml" if version == 5 else "Index.xml"
        (images / name).write_text(text, encoding="utf-8-sig" if version == 7 else "utf-8")
    return folder


def yokogawa(folder, *, listing=True, depth=1):
    """``AssayPlate_A01_T0001F001L01A01Z01C01.tif``, and the files that describe them."""
    space = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
    records = []
    for well, row, column, site, c, z, plane in planes(depth):
        name = f"{PLATE}_{well}_T0001F{site:03d}L01A01Z{z:02d}C{c:02d}.tif"
        write(folder / name, plane)
        records.append(
            f'<bts:MeasurementRecord bts:Type="IMG" bts:Row="{row}" bts:Column="{column}" '
            f'bts:TimePoint="1" bts:FieldIndex="{site}" bts:ZIndex="{z}" bts:ActionIndex="{c}" '
            f'bts:Ch="{c}">{name}</bts:MeasurementRecord>'
        )
    write(folder / "DC_sCMOS #1_CAM1.tif", plane)
    if listing:
        error = '<bts:MeasurementRecord bts:Type="ERR" bts:Row="3" bts:Column="1">no focus'
        records.append(f"{error}</bts:MeasurementRecord>")
        channels = "".join(
            f'<bts:MeasurementChannel bts:Ch="{c}" bts:HorizontalPixelDimension="{MICROMETRES}" '
            f'bts:VerticalPixelDimension="{MICROMETRES}" '
            f'bts:ShadingCorrectionSource="DC_sCMOS #1_CAM1.tif" />'
            for c in (1, 2)
        )
        named = "".join(
            f'<bts:Channel bts:Ch="{c}" bts:Target="{d}" bts:Fluorophore="" />'
            for c, d in enumerate(DYES, 1)
        )
        plate = f'<bts:MeasurementSamplePlate bts:Name="{PLATE}" />'
        for name, tag, content in (
            ("MeasurementData.mlf", "MeasurementData", "".join(records)),
            ("MeasurementDetail.mrf", "MeasurementDetail", plate + channels),
            ("settings.mes", "MeasurementSetting", f"<bts:ChannelList>{named}</bts:ChannelList>"),
        ):
            text = f'<?xml version="1.0" encoding="utf-8"?><bts:{tag} {space}>{content}</bts:{tag}>'
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def scanr(folder, *, depth=1):
    """``data/A1--W00001--P00001--Z00000--T00000--DNA.tif``, and the descriptor beside it."""
    pairs = [("String", "plate name", PLATE), ("DBL", "conversion factor um/pixel", MICROMETRES)]
    wells = "".join(
        f"<String><Name></Name><Val>{v}</Val></String>"
        for well, row, column in WELLS
        for v in ((row - 1) * 12 + column, f"{well[0]}{column}")
    )
    for _, row, column, site, c, z, plane in planes(depth):
        number = (row - 1) * 12 + column
        end = f"W{number:05d}--P{site:05d}--Z{z - 1:05d}--T00000--{DYES[c - 1]}.tif"
        write(folder / "data" / end, plane)
    values = "".join(f"<{t}><Name>{n}</Name><Val>{v}</Val></{t}>" for t, n, v in pairs)
    table = f"<Array><Name>well selection table + cDNA</Name>{wells}</Array>"
    text = f"<?xml version='1.0' encoding='utf-8'?><LVData>{values}{table}</LVData>"
    (folder / "experiment_descriptor.xml").write_text(text, encoding="utf-8")
    return folder


def incucyte(folder, *, depth=1):
    """``plate_Green_A1_1_00d00h00m.tif``, with the masks of the analysis beside them."""
    assert depth == 1
    for well, _, column, site, c, _, plane in planes():
        end = f"{well[0]}{column}_{site}_00d00h00m.tif"
        write(folder / f"{PLATE}_{('Green', 'Red')[c - 1]}_{end}", plane)
        write(folder / f"{PLATE}_ConfluenceMask_{end}", plane)
    return folder


def cellomics(folder):
    for well, _, _, site, c, _, plane in planes():
        write(folder / f"{PLATE}_{well}f{site:02d}d{c}.tif", plane)
        write(folder / f"{PLATE}_{well}f{site:02d}d{c}_Overlay.png.tif", plane)
    return folder


def in_cell(folder):
    for well, _, _, site, c, _, plane in planes():
        name = f"{well[0]} - {well[1:]}(fld {site} wv {c} - {DYES[c - 1]}).tif"
        write(folder / PLATE / name, plane)
    return folder


def own_names(folder, *, depth=1):
    """Names that no format knows, ``plate/A-1/field 1 DNA z1.tif``."""
    for well, _, column, site, c, z, plane in planes(depth):
        name = f"field {site:02d} {STAINS[c - 1]} z{z}.tif"
        write(folder / PLATE / f"{well[0].lower()}-{column}" / name, plane)
        write(folder / PLATE / "masks" / f"{well}_{site}_{c}_{z}.tif", plane)
    return folder


OWN_PATTERN = "{plate}/{well}/field {site} {channel} z{z}.tif"


def ome_tiff(folder):
    for (well, site), pixels in truth().items():
        metadata = {"axes": "CYX", "Channel": {"Name": list(STAINS)}}
        metadata |= {f"PhysicalSize{a}": MICROMETRES for a in "XY"}
        write(folder / f"{well}_s{site}.ome.tif", pixels, metadata=metadata)
    return folder


def imagej(folder):
    for (well, site), pixels in truth().items():
        metadata = {"axes": "CYX", "unit": "um", "Labels": list(STAINS)}
        path = folder / f"{well}_s{site}.tif"
        step = (1 / MICROMETRES, 1 / MICROMETRES)
        write(path, pixels, imagej=True, resolution=step, metadata=metadata)
    return folder


def folder_of(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def zarr_image(folder, pixels, *, version="0.5", unit="micrometer", names=STAINS, levels=("s0",)):
    """One OME-Zarr image `(C, H, W)`; a chunk is half a plane."""
    import zarr

    scale = [1.0, MICROMETRES, MICROMETRES]
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space"} for a in "yx")]
    if unit:
        axes = [axes[0], *({**a, "unit": unit} for a in axes[1:])]
    moved = {"type": "translation", "translation": [0.0, 5.0, 5.0]}
    said = {
        "multiscales": [
            {
                "axes": axes,
                "datasets": [
                    {
                        "path": level,
                        "coordinateTransformations": [{"type": "scale", "scale": scale}, moved],
                    }
                    for level in levels
                ],
            }
        ]
    }
    if names:
        said["omero"] = {"channels": [{"label": name} for name in names]}
    zarr_group(folder, said, version)
    height, width = pixels.shape[-2:]
    array = zarr.create_array(
        folder / levels[0],
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=(1, height // 2, width),
        zarr_format=2 if version == "0.4" else 3,
        fill_value=0,
    )
    array[...] = pixels
    return folder


def zarr_group(folder, said, version):
    """Write the attributes of a group where a version of OME-Zarr keeps them."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(said))
    else:
        attributes = {"ome": {"version": version, **said}}
        text = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(text))


def zarr_plate(folder, *, version="0.5"):
    """An HCS plate whose wells are listed in another order than they are named."""
    wells = [{"path": f"{well[0]}/{column}"} for well, _, column in WELLS]
    zarr_group(folder, {"plate": {"name": PLATE, "wells": wells}}, version)
    for well, _, column in WELLS:
        place = folder / well[0] / str(column)
        images = [{"path": str(site - 1)} for site in SITES]
        zarr_group(place.parent, {}, version)
        zarr_group(place, {"well": {"images": images}}, version)
        for site in SITES:
            pixels = truth()[well, str(site)]
            zarr_image(place / str(site - 1), pixels, version=version)
    return folder
