"""The report: one page, everything inside, looked at in a real browser."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import zoo
from tests.support import chromium
from zoo import _report_map
from zoo._report_figures import number, tables
from zoo._report_map import captions, map_data, principal_components, spread_out

REAL_UMAP = _report_map.umap_points
SECTIONS = (
    *["factors", "truth", "invariance", "pathological", "channels", "geometry", "agreement"],
    *["variance", "confounds", "retrieval", "effects", "relationships", "robustness", "mixing"],
    *["alignment", "domains", "learning", "readouts", "sweep", "validation"],
)
NASTY = "</script><script>alert(1)</script>"


def dataset():
    metadata = pd.DataFrame(
        {
            "image": [f"i{k:02d}" for k in range(32)],
            "plate": np.repeat([f"P{p}" for p in range(8)], 4),
            "dose": np.tile(range(4), 8),
            "depth": np.linspace(0, 1, 32),
            NASTY: np.tile(["<b>a</b>", "b"], 16),
        }
    )
    spec = zoo.DatasetSpec(
        name="plates",
        builder="m:f",
        summary="Plates & <i>wells</i>",
        label="dose",
        group="plate",
        batch="plate",
        channels=(2, 2),
        tasks=tuple(zoo.Task(kind=k, target="dose", title="dose") for k in ("dose", "knn")),
        notes=("Made for a test.",),
    )

    def read(i):
        rng = np.random.default_rng(i)
        return zoo.Image(rng.integers(0, 255, (2, 40, 40), dtype=np.uint8), ("DNA", "<b>GFP</b>"))

    return zoo.Dataset("plates", metadata, read, spec)


def diagnostic(name, seed):
    """Plausible findings of a diagnostic, with a gap and a NaN."""
    rng = np.random.default_rng(seed)
    conditions = {
        "factors": ("biology", "nuisance"),
        "learning": ("1 plate", "2 plates", "7 plates"),
        "validation": ("effect 0.5", "effect 1", "effect 2"),
        "geometry": ("",),
    }.get(name, ("raw", "turned by 90°"))
    contenders = ("biology", "shortcut") if name == "validation" else ("mine", "gaussian")
    findings = []
    for who in contenders:
        for condition in conditions:
            for quantity in ("dose, Spearman ρ", f"{condition} R²"):
                value = float(rng.random())
                findings.append(
                    zoo.Finding(
                        contender=who,
                        quantity=quantity,
                        condition=condition,
                        value=value,
                        low=value - 0.1,
                        high=value + 0.1,
                        reference=0.5,
                        beside="chance",
                        n_items=32,
                        note=NASTY,
                    )
                )
    findings[-1] = replace(findings[-1], value=float("nan"), low=float("nan"))
    return zoo.Diagnostic(
        name, f"Title of {name}", "How to read.", tuple(findings), ("It is said.",), ("Not asked.",)
    )


@pytest.fixture(scope="module")
def result():
    plates = dataset()
    rng = np.random.default_rng(0)
    rows = (plates.metadata["dose"].to_numpy()[:, None] + rng.normal(size=(32, 5))).astype("f4")
    mine = zoo.Embeddings(rows, plates.metadata, {"encoder": "mine", "zoo": "0"})
    found = zoo.evaluate(mine, plates, controls=["constant", "gaussian"], twin_seeds=1, cache=False)
    asked = tuple(diagnostic(name, k) for k, name in enumerate(SECTIONS))
    return replace(found, diagnostics=asked, absent={"timm:x": "no weights"}, doubts=("Doubt.",))


@pytest.fixture(scope="module", autouse=True)
def _quick_umap():
    """UMAP is compiled anew in every process, which takes longer than all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_report_map, "umap_points", lambda m: principal_components(m)[0][:, ::-1])
        yield


@pytest.fixture(scope="module")
def page(result, tmp_path_factory, _quick_umap):
    path = tmp_path_factory.mktemp("report") / "index.html"
    result.to_html(path)
    return path


def test_everything_is_on_the_page_and_nothing_outside_is_needed(result, page):
    text = page.read_text()
    for word in (result.headline, "Doubt.", "no weights", "Made for a test.", "data:image/jpeg"):
        assert word in text
    for name in SECTIONS:
        assert f'id="{name}"' in text
        assert f"Title of {name}" in text
    for row in result.rows:
        assert row.verdict.words in text
    # Names of XML vocabularies are no addresses that anybody would ask.
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert {a for a in addresses if "w3.org" not in a and "creativecommons" not in a} == {
        a for a in addresses if "purl.org" in a or "matplotlib.org" in a
    }
    for outside in (r'src="http', r'href="http', "@import", "url(http", "eval("):
        assert outside not in text
    assert len(text) < 8e6


def test_text_of_others_is_escaped(page):
    text = page.read_text()
    assert NASTY not in text
    assert "<b>GFP" not in text
    assert "Plates &amp; &lt;i&gt;wells" in text
    found = re.search(r'id="map-data">(.*?)</script>', text, re.DOTALL)
    colourings = [c["name"] for c in json.loads(found[1])["colourings"]]
    assert colourings == ["dose", "plate", "image", "depth", NASTY]


def test_the_same_result_makes_the_same_page(result, page, tmp_path):
    result.to_html(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page.read_text()


def test_the_quick_suite_and_embeddings_without_images_have_a_page(result, tmp_path):
    bare = replace(result.dataset, read=None, profiles={"mine": None})
    replace(result, dataset=bare, diagnostics=()).to_html(tmp_path / "i.html")
    text = (tmp_path / "i.html").read_text()
    assert "data:image/jpeg" not in text
    assert "<nav" not in text
    assert 'id="map"' in text


def test_numbers_read_well():
    assert [number(v) for v in (0.123, -0.5, -0.0004, 1234.6, 0.0, float("nan"))] == [
        *["0.12", "−0.50", "0.00", "1235", "0.00", "–"]
    ]


def test_tables_have_contenders_down_and_what_varies_across():
    one = tables(diagnostic("geometry", 0), "mine")
    assert [(t["title"], t["columns"]) for t in one] == [("", ["dose, Spearman ρ", " R²"])]
    assert [(r["name"], r["own"]) for r in one[0]["rows"]] == [("mine", True), ("gaussian", False)]
    several = tables(diagnostic("alignment", 0), "mine")
    assert several[0]["title"] == "dose, Spearman ρ"
    assert several[0]["columns"] == ["raw", "turned by 90°"]
    assert several[0]["rows"][0]["cells"][0]["small"].endswith("chance 0.50")


def test_umap_keeps_clusters_apart_and_is_the_same_each_time():
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    side = np.repeat([0, 1], 15)
    rows = rng.normal(size=(30, 4)) + 30 * side[:, None]
    points = REAL_UMAP(rows)
    centres = [points[side == s].mean(0) for s in (0, 1)]
    spread = max(points[side == s].std() for s in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > 3 * spread
    np.testing.assert_array_equal(points, REAL_UMAP(rows))


def test_many_items_are_thinned_out_evenly_and_said(result):
    n = 5000
    table = pd.DataFrame({"dose": np.arange(n) % 4, "plate": np.arange(n) % 8})
    matrix = np.random.default_rng(0).normal(size=(n, 3)).astype("f4")
    many = zoo.Embeddings(matrix, table, {"encoder": "mine"})
    bare = replace(result.dataset, metadata=table, read=None, profiles={"mine": None})
    text, said = map_data(replace(result, embeddings=many, dataset=bare), umap=False)
    assert len(json.loads(text)["captions"]) == 2000
    assert said == ("2000 of 5000 items are drawn, evenly chosen.",)
    assert spread_out(10, 4).tolist() == [0, 3, 6, 9]


def test_principal_components_are_those_of_numpy():
    rows = np.random.default_rng(0).normal(size=(30, 4)) * [1, 2, 3, 4]
    scaled = (rows - rows.mean(0)) / rows.std(0)
    points, share = principal_components(rows)
    values = np.sort(np.linalg.eigvalsh(scaled.T @ scaled))[::-1]
    np.testing.assert_allclose(share, values[:2] / values.sum(), rtol=1e-9)
    np.testing.assert_allclose((points**2).sum(0), values[:2], rtol=1e-9)
    flat, none = principal_components(np.ones((5, 1)))
    assert flat.shape == (5, 2)
    assert not none.any()
    assert captions(pd.DataFrame({"a": [1.23456]})) == ["a: 1.23"]


@pytest.mark.skipif(chromium.executable() is None, reason="there is no Chromium here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # preexec_fn beside threads
def test_a_browser_hovers_a_point_and_switches_the_colouring(page):
    with chromium.Page() as browser:
        browser.open(page)
        browser.run("document.querySelector('#map').scrollIntoView()")
        assert not browser.run("document.querySelector('#map').hidden")
        assert browser.run("document.querySelectorAll('#map .point').length") == 32
        tip = "document.querySelector('#map .tip')"
        assert browser.run(f"{tip}.hidden")
        spot = browser.run(
            "(() => { const b = document.querySelector('#map .point[data-i=\"5\"]')"
            ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        browser.hover(*spot)
        assert not browser.run(f"{tip}.hidden")
        assert browser.run(f"{tip}.querySelector('img').naturalWidth") > 0
        assert "plate: P" in browser.run(f"{tip}.textContent")
        choose = (
            "(() => {{ const s = document.querySelectorAll('#map select')[1]; "
            "s.selectedIndex = {}; "
            "s.dispatchEvent(new Event('change')); "
            "return document.querySelector('#map .legend').textContent; }})()"
        )
        before = "document.querySelector('#map .point').getAttribute('fill')"
        assert browser.run(choose.format(1)).startswith("plateP0P1")
        first = browser.run(before)
        assert browser.run(choose.format(3)).startswith("depth")
        assert browser.run(before) != first
        # A name that is markup is shown as the text it is.
        assert browser.run(choose.format(4)).startswith(NASTY)
        browser.hover(1, 1)
        browser.run("document.querySelector('#map > svg').focus()")
        browser.press("ArrowRight")
        assert not browser.run(f"{tip}.hidden")
        browser.press("Escape")
        assert browser.run(f"{tip}.hidden")
        browser.resize(360, 740, mobile=True)
        assert browser.run("document.documentElement.scrollWidth") <= 360
        assert browser.errors == []
        assert [r for r in browser.requests if not r.startswith(("file:", "data:"))] == []
