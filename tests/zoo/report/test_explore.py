"""The explorer's page: what it holds, against the table, and what a browser does with it."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image as Picture

import zoo
from zoo import errors
from zoo._cli import main
from zoo._report.explore_columns import MOST_COLOURS, colour_by, column, many_colours

ROWS = 90


def page_data(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), dtype=f"<{kind}")


def values_of(found, rows):
    """The values of a column as the script reads them."""
    if found["kind"] == "text":
        return found["values"]
    if found["kind"] == "number":
        return numbers(found["values"], "f8").tolist()
    codes = numbers(found["codes"], f"u{found['bytes']}")
    assert len(codes) == rows
    return [found["names"][c] if c < len(found["names"]) else None for c in codes]


class TestColumns:
    @pytest.mark.parametrize(
        ("values", "kind", "expected"),
        [
            (["b", None, "a", "a"], "category", ["b", None, "a", "a"]),
            ([3, 10, 3, 10], "category", ["3", "10", "3", "10"]),
            ([True, False, True, None], "category", ["True", "False", "True", None]),
            (list(range(20)), "number", list(range(20))),
            ([0.1 * i for i in range(20)], "number", [0.1 * i for i in range(20)]),
            ([f"{i}.tif" for i in range(90)], "text", [f"{i}.tif" for i in range(90)]),
            ([None] * 4, "category", [None] * 4),
            (["", "x", "</script>", "ü"], "category", ["", "x", "</script>", "ü"]),
            ([f"g{i}" for i in range(300)] * 3, "category", [f"g{i}" for i in range(300)] * 3),
        ],
    )
    def test_values_come_back(self, values, kind, expected):
        found = column("c", pd.Series(values))
        assert found["kind"] == kind
        assert values_of(found, len(values)) == expected

    def test_numbers_of_categories_are_in_order_of_size(self):
        assert column("c", pd.Series([10, 9, 100] * 4))["names"] == ["9", "10", "100"]

    def test_missing_numbers_stay_missing_and_ends_are_those_of_the_others(self):
        found = column("c", pd.Series([np.nan, *range(5, 25), np.inf]))
        assert (found["low"], found["high"]) == (5, 24)
        assert np.isnan(values_of(found, 22)[0])

    def test_a_few_far_numbers_do_not_take_all_colours(self):
        found = column("c", pd.Series([*np.linspace(0, 1, 1000), 1e6]))
        assert 0.9 < found["high"] < 1
        assert (found["below"], found["above"]) == (True, True)
        assert not column("c", pd.Series([*np.linspace(0, 1, 50), 1e6]))["above"]

    def test_rare_values_have_no_colour(self):
        values = [f"g{i}" for i in range(60) for _ in range(60 - i + 1)]
        found = column("c", pd.Series(values))
        coloured = {n for n, k in zip(found["names"], found["looks"], strict=True) if k >= 0}
        assert coloured == {f"g{i}" for i in range(MOST_COLOURS)}
        assert sorted(k for k in found["looks"] if k >= 0) == list(range(MOST_COLOURS))

    def test_colours_differ(self):
        found = many_colours()
        assert len(found) == len(set(found)) == MOST_COLOURS
        assert all(re.fullmatch("#[0-9a-fA-F]{6}", c) for c in found)

    def test_biology_is_the_first_colour(self):
        table = pd.DataFrame({"Plate": ["a", "b"] * 5, "one": "x", "drug": ["c", "d"] * 5})
        columns = [column(c, table[c]) for c in table]
        assert colour_by(columns, None) == 2
        assert colour_by(columns, "Plate") == 0
        assert colour_by(columns[:2], None) == 0
        assert colour_by(columns[1:2], None) == -1


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """A table beside its images: three clusters, whose images have three kinds of brightness."""
    folder = tmp_path_factory.mktemp("plate")
    rng = np.random.default_rng(0)
    kind = np.arange(ROWS) % 3
    matrix = rng.normal(size=(ROWS, 6)) * 0.3
    matrix[np.arange(ROWS), kind] += 10
    for i in range(ROWS):
        pixels = np.zeros((3, 40, 40), np.uint8)
        pixels[kind[i]] = 200
        Picture.fromarray(np.moveaxis(pixels, 0, -1)).save(folder / f"{i}.png")
    table = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(ROWS)],
            "Plate": [f"P{i // 30}" for i in range(ROWS)],
            "drug": np.array(["red, the 1st", 'gr"een', "</script><b>blue"])[kind],
            "dose": rng.random(ROWS).round(4),
        }
    )
    told = {"zoo": "0", "encoder": "mine", "dataset": "<plate>"}
    made = zoo.Embeddings(matrix.astype(np.float32), table, told)
    made.write(folder / "profiles.parquet")
    return folder, made


@pytest.fixture(scope="module")
def page(plate):
    folder, _ = plate
    assert zoo.explore(folder / "profiles.parquet", folder / "page.html", umap=False) == ()
    return folder / "page.html"


def test_the_page_holds_the_table(plate, page):
    _, made = plate
    found = page_data(page)
    assert found["count"] == ROWS
    assert [c["name"] for c in found["columns"]] == list(made.metadata.columns)
    for one in found["columns"]:
        assert values_of(one, ROWS) == made.metadata[one["name"]].tolist()
    assert found["columns"][found["colour_by"]]["name"] == "drug"
    text = page.read_text()
    assert "<title>&lt;plate&gt;</title>" in text
    assert "</script><b>" not in text
    assert not re.search(r"(src|href)\s*=\s*[\"']?http|url\(http", text)


def test_neighbours_are_those_of_a_loop(plate, page):
    _, made = plate
    found = page_data(page)["neighbours"]
    rows = made.matrix.astype(float)
    rows = (rows - rows.mean(0)) / rows.std(0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -2)
    expected = np.argsort(-similar, axis=1)[:, : found["k"]]
    assert numbers(found["items"], "i4").reshape(ROWS, -1).tolist() == expected.tolist()


def test_the_map_is_principal_components_of_one_scale(plate, page):
    _, made = plate
    (view,) = page_data(page)["views"]
    points = np.stack([numbers(view[k], "f4") for k in "xy"], axis=1)
    assert np.ptp(points, axis=0).max() == pytest.approx(1 / 1.02, rel=1e-5)
    rows = made.matrix.astype(float)
    rows = (rows - rows.mean(0)) / rows.std(0)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    expected = rows @ vectors[:, ::-1][:, :2]
    expected -= (expected.min(0) + expected.max(0)) / 2
    scale = np.ptp(expected, axis=0).max() * 1.02
    # Signs of components are free; positions are float32.
    np.testing.assert_allclose(np.abs(points), np.abs(expected) / scale, atol=1e-5)
    assert f"PC 1 {values[-1] / values.sum():.0%}" in view["axes"]


@pytest.mark.long
def test_umap_is_the_first_map(plate, tmp_path):
    pytest.importorskip("umap")
    _, made = plate
    zoo.explore(made[:40], tmp_path / "page.html", pictures=0)
    assert [v["name"] for v in page_data(tmp_path / "page.html")["views"]] == [
        "UMAP",
        "principal components",
    ]


def colour_at(pictures, item):
    """Mean colour of the picture of an item."""
    place = int(numbers(pictures["place"], "i4")[item])
    sheet, within = divmod(place, pictures["per_sheet"])
    raw = base64.b64decode(pictures["sheets"][sheet].partition(",")[2])
    side = pictures["side"]
    x, y = within % pictures["across"] * side, within // pictures["across"] * side
    with Picture.open(io.BytesIO(raw)) as opened:
        return np.asarray(opened.crop((x, y, x + side, y + side))).mean((0, 1))


def test_every_item_has_its_own_picture(page):
    pictures = page_data(page)["pictures"]
    assert pictures["drawn"] == ROWS
    for item in (0, 1, 2, 44, 89):
        colour = colour_at(pictures, item)
        assert colour.argmax() == item % 3
        assert colour.max() > 150 > 60 > np.sort(colour)[1]  # JPEG changes colours a little


def test_few_pictures_and_files_that_are_gone(plate, tmp_path):
    folder, made = plate
    table = made.metadata.assign(image=[str(folder / n) for n in made.metadata["image"]])
    table.loc[3:5, "image"] = "gone.png"
    notes = zoo.explore(
        replace(made, metadata=table), tmp_path / "page.html", umap=False, pictures=45
    )
    place = numbers(page_data(tmp_path / "page.html")["pictures"]["place"], "i4")
    assert (place >= 0).sum() == 45 - np.isin(np.linspace(0, 89, 45).round(), [3, 4, 5]).sum()
    assert notes == (f"{(place >= 0).sum()} of 90 items have a picture",)
    table["image"] = "gone.png"
    (note,) = zoo.explore(replace(made, metadata=table), tmp_path / "page.html", umap=False)
    assert "there are no pictures" in note
    assert "--images" in note
    assert page_data(tmp_path / "page.html")["pictures"] is None


def test_images_of_a_source_are_matched_by_name(plate, tmp_path):
    folder, made = plate
    shuffled = made[np.random.default_rng(1).permutation(ROWS)]
    zoo.explore(shuffled, tmp_path / "page.html", images=folder, umap=False)
    pictures = page_data(tmp_path / "page.html")["pictures"]
    for item in range(0, ROWS, 17):
        kind = int(shuffled.metadata["image"].iloc[item].partition(".")[0]) % 3
        assert colour_at(pictures, item).argmax() == kind
    other = shuffled.metadata.assign(image="x.png")
    with pytest.raises(errors.DataError, match=r"no row of the table has an image of .*: x\.png"):
        zoo.explore(replace(made, metadata=other), tmp_path / "page.html", images=folder)
    none = made.metadata.drop(columns="image").iloc[:50]
    with pytest.raises(errors.DataError, match="rows and images cannot be matched"):
        zoo.explore(replace(made[:50], metadata=none), tmp_path / "page.html", images=folder)


@pytest.mark.parametrize("given", [False, True])
def test_crops_are_cut_out_of_their_images(tmp_path, given):
    field = np.zeros((40, 60, 3), np.uint8)
    field[:, :20, 0] = field[:, 20:40, 1] = field[:, 40:, 2] = 220
    (tmp_path / "fields").mkdir()
    Picture.fromarray(field).save(tmp_path / "fields" / "a.png")
    tiles = zoo.open_images(tmp_path / "fields", crops="tiles", crop_size=20)
    made = zoo.embed(tiles, "pixel-statistics", cache=False)
    images = tmp_path / "fields" if given else None
    if not given:
        made.write(tmp_path / "fields" / "t.parquet")
    source = made if given else tmp_path / "fields" / "t.parquet"
    zoo.explore(source, tmp_path / "page.html", images=images, umap=False)
    pictures = page_data(tmp_path / "page.html")["pictures"]
    assert [int(colour_at(pictures, i).argmax()) for i in range(6)] == [0, 1, 2, 0, 1, 2]


def test_what_makes_no_page_is_refused(plate, tmp_path):
    _, made = plate
    with pytest.raises(errors.DataError, match=r"must end in \.html"):
        zoo.explore(made, tmp_path / "page.pdf")
    with pytest.raises(errors.DataError, match="three items or more, but there are 2"):
        zoo.explore(made[:2], tmp_path / "page.html")
    with pytest.raises(errors.DataError, match=r"no column dru .* Did you mean 'drug'"):
        zoo.explore(made, tmp_path / "page.html", colour="dru")


def test_items_that_are_all_the_same_have_a_page(tmp_path):
    made = zoo.Embeddings(np.ones((5, 3), np.float32), pd.DataFrame({"a": list("xyxyx")}), {})
    notes = zoo.explore(made, tmp_path / "page.html")
    assert any("UMAP" in note for note in notes)
    assert "Euclidean" in page_data(tmp_path / "page.html")["neighbours"]["how"]


def test_the_command_writes_the_page(plate, tmp_path):
    folder, _ = plate
    asked = [
        folder / "profiles.parquet",
        "-o",
        tmp_path / "x.html",
        "--no-umap",
        "--colour",
        "Plate",
    ]
    asked += ["--images", folder, "--stain", "red=DNA", "--pictures", 10]
    result = CliRunner().invoke(main, ["explore", *map(str, asked)])
    assert result.exit_code == 0, result.output
    assert "x.html is written: open it in a browser" in result.output
    assert "note: 10 of 90 items have a picture" in result.output
    found = page_data(tmp_path / "x.html")
    assert found["columns"][found["colour_by"]]["name"] == "Plate"


def mouse(browser, kind, x, y, **more):
    browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", **more)


def drag(browser, path, **more):
    mouse(browser, "mousePressed", *path[0], clickCount=1, buttons=1, **more)
    for x, y in path[1:]:
        mouse(browser, "mouseMoved", x, y, buttons=1, **more)
    mouse(browser, "mouseReleased", *path[-1], clickCount=1, **more)


def around(browser, items, room=12):
    """A path around the points of some items."""
    places = np.array([browser.run(f"explorer.place({i})") for i in items])
    (left, top), (right, bottom) = places.min(0) - room, places.max(0) + room
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 5)]


def pixel(browser, item):
    """What is drawn in the middle of an item's point."""
    return browser.run(
        "(() => { const c = document.querySelector('#points'), b = c.getBoundingClientRect(), "
        f"[x, y] = explorer.place({item}), d = c.getContext('2d').getImageData("
        "x - b.left, y - b.top, 1, 1).data; return [d[0], d[1], d[2]]; })()"
    )


def own_colour(browser, item):
    colour = browser.run(f"explorer.colour({item})")
    return [colour & 255, colour >> 8 & 255, colour >> 16 & 255]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # preexec_fn beside threads
class TestInABrowser:
    def test_a_click_shows_an_item_and_its_neighbours(self, plate, page, browser):
        _, made = plate
        browser.open(page)
        browser.until("!!window.explorer")
        place = browser.run("explorer.place(7)")
        drag(browser, [place])
        panel = "document.querySelector('#item').textContent"
        browser.until(f"{panel}.includes('Item')")
        number = int(re.search(r"Item (\d+) of 90", browser.run(panel))[1]) - 1
        # Another point may lie on top of it, but not of another cluster.
        assert number % 3 == 7 % 3
        assert made.metadata["drug"].iloc[number] in browser.run(panel)
        buttons = browser.run(
            "[...document.querySelectorAll('#item .near button')].map((b) => +b.dataset.item)"
        )
        assert buttons == browser.run(f"explorer.nearest({number})")
        assert all(b % 3 == number % 3 for b in buttons)
        image = "getComputedStyle(document.querySelector('#item .picture')).backgroundImage"
        assert browser.run(image).startswith('url("data:image/jpeg')
        browser.run("document.querySelector('#item .near button').click()")
        browser.until(f"{panel}.includes('Item {buttons[0] + 1} of')")

    def test_a_lasso_makes_a_table_that_is_saved_as_csv(self, plate, page, browser):
        _, made = plate
        browser.open(page)
        browser.until("!!window.explorer")
        wanted = [i for i in range(ROWS) if i % 3 == 1]
        drag(browser, around(browser, wanted), modifiers=8)  # Shift
        assert browser.run("explorer.chosen()") == wanted
        assert "30 of 90 items" in browser.run("document.querySelector('#chosen').textContent")
        assert browser.run("document.querySelectorAll('#chosen tbody tr').length") == 30
        browser.run("URL.createObjectURL = (b) => { b.text().then((t) => (window.saved = t)); "
                    "return '#'; }; document.querySelector('#save').click()")  # fmt: skip
        browser.until("!!window.saved")
        found = pd.read_csv(io.StringIO(browser.run("window.saved")))
        assert found["row"].tolist() == wanted
        expected = made.metadata.iloc[wanted].reset_index(drop=True)
        pd.testing.assert_frame_equal(found.drop(columns="row"), expected)
        browser.run("explorer.draw()")
        assert pixel(browser, 1) == own_colour(browser, 1)
        pale = pixel(browser, 0)
        assert min(pale) > min(own_colour(browser, 0))
        assert pale != [255, 255, 255]
        browser.run("[...document.querySelectorAll('#chosen button')].at(-1).click()")
        assert browser.run("explorer.chosen()") == []
        browser.run("explorer.draw()")
        assert pixel(browser, 0) == own_colour(browser, 0)
        browser.run("document.querySelectorAll('#legend button')[2].click()")
        browser.run("explorer.draw()")
        drawn = [pixel(browser, i) == own_colour(browser, i) for i in range(3)]
        drugs = made.metadata["drug"]
        assert drawn == [name == sorted(set(drugs))[2] for name in drugs[:3]]

    def test_colours_follow_the_column(self, page, browser):
        browser.open(page)
        browser.until("!!window.explorer")

        def choose(name):
            browser.run(
                "(() => { const s = document.querySelector('#colour'); s.value = "
                f"[...s.options].find((o) => o.text === '{name}').value; "
                "s.dispatchEvent(new Event('change')); })()"
            )
            return [browser.run(f"explorer.colour({i})") for i in range(6)]

        drug = choose("drug")
        assert drug[:3] == drug[3:]
        assert len(set(drug)) == 3
        assert len(set(choose("Plate"))) == 1  # the first thirty rows are one plate
        assert len(set(choose("dose"))) > 3
        assert len(set(choose("nothing"))) == 1
        offered = browser.run("[...document.querySelectorAll('#colour option')].map((o) => o.text)")
        assert "image" not in offered

    def test_points_are_drawn_where_they_are(self, page, browser):
        browser.open(page)
        browser.until("!!window.explorer")
        for item in (0, 1, 2):
            assert pixel(browser, item) == own_colour(browser, item)
        before = browser.run("explorer.place(0)")
        box = "document.querySelector('#over').getBoundingClientRect()"
        middle = [browser.run(f"{box}.{k}") + 30 for k in "xy"]
        drag(browser, [middle, [middle[0] + 40, middle[1] + 25]])
        browser.run("explorer.draw()")
        moved = np.subtract(browser.run("explorer.place(0)"), before)
        np.testing.assert_allclose(moved, [40, 25], atol=0.01)  # places are float32

    def test_a_hundred_thousand_points(self, tmp_path, monkeypatch, browser):
        """How fast they are drawn is measured in benchmarks/bench_explore.py."""
        # Exact neighbours of so many take a minute.
        monkeypatch.setattr("zoo._report.explore_page._neighbours", lambda _: None)
        rng = np.random.default_rng(0)
        points = rng.normal(size=(100_000, 2)).astype(np.float32)
        table = pd.DataFrame({"cluster": rng.integers(0, 300, 100_000)})
        path = tmp_path / "page.html"
        zoo.explore(zoo.Embeddings(points, table, {}), path, umap=False)
        browser.open(path)
        browser.until("!!window.explorer")
        over = "document.querySelector('#over').getBoundingClientRect()"
        box = [browser.run(f"{over}.{name}") for name in ("x", "y", "width", "height")]
        left, top, right, bottom = 300, 300, 420, 400
        corners = [(left, top), (right, top), (left, bottom)]  # a triangle
        drag(browser, [*corners, (left, top + 5)], modifiers=8)
        (view,) = page_data(path)["views"]
        x, y = (numbers(view[k], "f4") for k in "xy")
        width, height = round(box[2]), round(box[3])  # of the bitmap
        scale = 0.92 * min(width, height)
        across = box[0] + (width / 2 + x * scale) * box[2] / width
        down = box[1] + (height / 2 - y * scale) * box[3] / height
        found = set(browser.run("explorer.chosen()"))

        def inside(room):
            u, v = (across - left) / (right - left), (down - top) / (bottom - top)
            kept = (u > -room) & (v > -room) & (u + v < 1 + room)
            return set(np.flatnonzero(kept).tolist())

        # The script adds up in float32.
        assert inside(-1e-4) <= found <= inside(1e-4)
        assert len(found) > 1000
        assert f"{len(found):,} of 100,000" in browser.run(
            "document.querySelector('#chosen').textContent"
        )

    def test_nothing_is_fetched_and_nothing_is_wrong(self, page, browser):
        browser.requests.clear()
        browser.errors.clear()
        browser.open(page)
        browser.until("!!window.explorer")
        for item in range(0, ROWS, 9):
            browser.run(f"explorer.pick({item})")
        browser.resize(420, 800, mobile=True)
        browser.run("explorer.draw()")
        browser.resize(1280, 900)
        assert browser.errors == []
        assert {url.partition(":")[0] for url in browser.requests} <= {"file", "data"}
