"""The report: one page, everything inside, looked at in a real browser."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

import zoo
from zoo import errors
from zoo._report import map as _report_map
from zoo._report.blocks import blocks
from zoo._report.colours import look
from zoo._report.figures import Roles, of_diagnostic, scores
from zoo._report.map import as_json, captions, colourings, map_data, principal_components
from zoo._report.marks import axis, interval, number, signed
from zoo._report.pictures import picture, thumbnails, tinted
from zoo._report.sampling import spread_out, spread_over
from zoo._report.tables import support, tables
from zoo.metrics import nearest_neighbours

REAL_UMAP = _report_map.umap_points
NASTY = "</script><script>alert(1)</script>"
SCORES = ("dose, Spearman ρ", "dose level, 1-NN balanced accuracy")
CONTENDERS = ("mine", "gaussian", "constant")
# Conditions of each diagnostic, as the suite names them.
ASKED = {
    "geometry": ("",),
    "agreement": ("",),
    "variance": ("entered first", "entered last"),
    "confounds": ("raw", "residual", "confounders alone", "partial gain"),
    "retrieval": ("any negatives", "positives from another plate only"),
    "effects": ("",),
    "robustness": ("",),
    "mixing": ("batches mixed", "biology kept"),
    "alignment": ("raw", "centre-scale", "TVN"),
    "domains": ("within a plate", "plate left out"),
    "learning": ("4 plates", "1 plate", "7 plates", "2 plates"),
    "readouts": ("",),
    "invariance": ("flipped", "gain 0.7", "channel <b>GFP</b> black"),
    "pathological": ("black", "patches shuffled", "phases scrambled"),
    "channels": ("DNA black", "GFP black"),
    "sweep": ("last layer, embedding", "scaling instance"),
    "factors": ("biology", "nuisance"),
    "truth": ("phantom-shortcut", "phantom-tissue"),
    "validation": ("effect 0.5", "effect 1", "effect 2"),
}
APART = {
    "factors": {"biology": ("translocation", "texture"), "nuisance": ("intensity", "focus")},
    "mixing": {"batches mixed": ("iLISI", "kBET"), "biology kept": ("cLISI",)},
}
SPOILT = ("pathological", "channels")
AT = {"4 plates": 4, "1 plate": 1, "7 plates": 7, "2 plates": 2}
AT |= {"effect 0.5": 0.5, "effect 1": 1, "effect 2": 2}
# What each says of itself: view, order, unit.
SAYS = {
    "learning": {"view": "curves", "unit": "plates", "scores_again": True},
    "invariance": {"view": "drift", "order": -1},
    "pathological": {"view": "change", "order": -1, "scores_again": True},
    "channels": {"view": "change", "order": -1, "scores_again": True},
    "alignment": {"scores_again": True},
    "sweep": {"scores_again": True},
    "factors": {"view": "shades", "order": -2},
    "truth": {"order": 1},
    "validation": {"view": "rates", "order": 1},
}


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
    spec = zoo.plugin.DatasetSpec(
        name="plates",
        builder="m:f",
        summary="Plates & <i>wells</i>",
        design=zoo.Design(
            label="dose",
            group="plate",
            batch="plate",
            tasks=tuple(zoo.Task(kind=k, target="dose", title="dose") for k in ("dose", "knn")),
        ),
        channels=(2, 2),
        notes=("Made for a test.",),
    )

    def read(i):
        rng = np.random.default_rng(i)
        return zoo.Image(rng.integers(0, 255, (2, 40, 40), dtype=np.uint8), ("DNA", "<b>GFP</b>"))

    return zoo.Dataset("plates", metadata, read, spec)


def diagnostic(name, seed=0):
    """Findings of a diagnostic in the shape that the suite gives them, one of them NaN."""
    rng = np.random.default_rng(seed)
    contenders = {
        "validation": ("biology", "shortcut"),
        "truth": (*CONTENDERS, "oracle"),
        "agreement": CONTENDERS[1:],
    }.get(name, CONTENDERS)
    findings = []
    for who in contenders:
        for condition in ASKED[name]:
            usual = ("drift",) if name == "invariance" else SCORES
            for quantity in APART.get(name, {}).get(condition, usual):
                value = float(rng.random())
                findings.append(
                    zoo.Finding(
                        encoder=who,
                        quantity=quantity,
                        condition=condition,
                        at=AT.get(condition, np.nan),
                        value=value,
                        low=value - 0.1,
                        high=value + 0.1,
                        reference=0.9 if name in SPOILT else 0.5,
                        reference_name="as it is" if name in SPOILT else "chance",
                        n_items=32,
                        n_groups=8,
                        note=NASTY,
                    )
                )
    if name != "validation":
        findings[-1] = replace(findings[-1], value=np.nan, low=np.nan, high=np.nan)
    return zoo.Diagnostic(
        name=name,
        title=f"Title of {name}",
        how_to_read="How to read.",
        findings=tuple(findings),
        conclusions=(f"Said of {name}.",),
        not_computed=("No.",),
        **SAYS.get(name, {}),
    )


def every():
    silent = zoo.Diagnostic(
        name="relationships",
        title="Title of relationships",
        how_to_read="R.",
        not_computed=("No pairs.",),
    )
    return (*(diagnostic(name, k) for k, name in enumerate(ASKED)), silent)


@pytest.fixture(scope="module")
def result():
    plates = dataset()
    rng = np.random.default_rng(0)
    rows = (plates.metadata["dose"].to_numpy()[:, None] + rng.normal(size=(32, 5))).astype("f4")
    mine = zoo.Embeddings(rows, plates.metadata, {"encoder": "mine", "zoo": "0"})
    found = zoo.evaluate(
        mine, plates, controls=["constant", "gaussian"], control_seeds=1, cache=False
    )
    absent = {"timm:x": "no weights"}
    return replace(found, diagnostics=every(), skipped_controls=absent, warnings=("Doubt.",))


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


def words(text):
    """What a reader sees: markup is gone, and so are places where a name may break."""
    bare = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", "", bare.replace("<wbr>", ""))


def test_everything_is_on_the_page(result, page):
    text = page.read_text()
    seen = words(text)
    for said in (
        result.headline,
        "Doubt.",
        "no weights",
        "Made for a test.",
        "32 items",
        "8 indep",
    ):
        assert said in seen
    for row in result.rows:
        assert row.verdict.summary in seen
        assert f"{row.task}, {row.metric}" in seen
    for d in result.diagnostics:
        assert text.count(f'id="{d.name}"') == 1
        assert f'href="#{d.name}"' in text or not d.findings
        assert d.title in seen
        assert all(said in seen for said in (*d.conclusions, *d.not_computed))
    assert "data:image/jpeg" in text


def test_the_verdict_comes_first_and_provenance_last(result, page):
    text = page.read_text()
    ids = re.findall(r'<(?:section|details)[^>]* id="([\w-]+)"', text)
    middle = [n for n in ASKED if SAYS.get(n, {}).get("order", 0) == 0]
    assert ids == [
        *["verdict", "scores", "factors", "invariance", "pathological", "channels", "embedding"],
        *["more", *middle, "relationships", "truth", "validation", "know", "provenance"],
    ]


def test_nothing_outside_is_asked_for(page):
    text = page.read_text()
    for outside in ('src="http', 'src="//', "@import", "url(", "eval(", "fetch(", "<iframe"):
        assert outside not in text
    links = re.findall(r'(?:href|src)="([^"]*)"', text)
    assert links
    assert {link[:1] for link in links if not link.startswith("data:")} == {"#"}
    # SVG's name is the only address in the script; nobody asks it.
    assert set(re.findall(r"https?://[^\s\"'<)&]+", text.replace(" ", "\n"))) <= {
        "http://www.w3.org/2000/svg",
        *re.findall(r"https?://[^\s\"'<)&]+", words(text)),
    }
    assert len(text) < 8e6


def test_text_of_others_is_escaped(page):
    text = page.read_text()
    assert NASTY not in text
    assert "<b>GFP" not in text
    assert "<b>a</b>" not in text
    assert "Plates &amp; &lt;i&gt;wells" in text
    held = re.search(r'id="map-data">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in held
    names = [c["name"] for c in json.loads(held)["colourings"]]
    assert names == ["dose", "plate", "image", "depth", NASTY]
    assert as_json("</script>&") == r'"\u003c/script\u003e\u0026"'


def test_the_same_result_makes_the_same_page(result, page, tmp_path):
    result.to_html(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == page.read_text()


def test_the_quick_suite_and_embeddings_without_images_have_a_page(result, tmp_path):
    bare = replace(result.dataset, read=None, profiles={"mine": None})
    replace(result, dataset=bare, diagnostics=()).to_html(tmp_path / "i.html")
    text = (tmp_path / "i.html").read_text()
    assert "data:image/" not in text
    assert "Further diagnostics" not in text
    assert 'id="map"' in text
    assert "One image for each" not in text


def test_a_page_without_a_map_says_why(result, tmp_path):
    matrix = np.full_like(result.embeddings.matrix, np.nan)
    lost = replace(result.embeddings, matrix=matrix)
    replace(result, embeddings=lost, diagnostics=()).to_html(tmp_path / "i.html")
    text = (tmp_path / "i.html").read_text()
    assert "32 of 32 items have NaN or infinite embeddings. There are too few items" in text
    assert 'id="map"' not in text


def test_colours_of_text_can_be_read(page):
    """Contrast of at least 4.5 on white, as WCAG 2.2 AA asks of text and 3 of marks."""

    def contrast(colour):
        channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 1.05 / (np.dot([0.2126, 0.7152, 0.0722], linear) + 0.05)

    named = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", page.read_text()))
    for name in ("ink", "soft", "own-ink", "compared-ink"):
        assert contrast(named[name]) >= 4.5
    for name in ("own", "compared", "control", "oracle"):
        assert contrast(named[name]) >= 3


def test_numbers_read_well():
    nan = float("nan")
    assert [number(v) for v in (0.123, -0.5, -0.0004, -19.04, 1234.6, 0.0, nan)] == [
        *["0.12", "−0.50", "0.00", "−19.0", "1235", "0.00", "–"]
    ]
    assert [signed(v) for v in (0.123, -0.5, 0.001, nan)] == ["+0.12", "−0.50", "0.00", "–"]
    assert interval(0.1, 0.25) == "[0.10, 0.25]"
    assert interval(nan, 1) == ""


@pytest.mark.parametrize(
    "values", [[0.2, 0.97], [-0.4, 0.3, 1.0], [0.0, 0.0], [3.2, 410.0], [0.001], [float("nan")]]
)
def test_an_axis_covers_its_values_with_round_ticks(values):
    on = axis(values)
    known = [v for v in values if np.isfinite(v)]
    assert all(on.low - 1e-9 <= v <= on.high + 1e-9 and not on.beyond(v) for v in known)
    assert on.low <= 0 < on.high
    places = [place for place, _ in on.ticks]
    assert 2 <= len(places) <= 6
    assert all(0 <= place <= 100 for place in places)
    labels = [float(label.replace("−", "-")) for _, label in on.ticks]
    np.testing.assert_allclose(places, [on.place(v) for v in labels])
    assert 0.0 in labels


def test_values_far_off_stay_at_the_end_of_the_axis():
    on = axis([-19.0, 0.8])
    assert on.low == -1
    assert (on.place(-19), on.beyond(-19), on.beyond(0.8)) == (0.0, "left", "")
    root = axis([0.04, 1.0], root=True)
    # Square roots: a twenty-fifth of the range is a fifth of the way.
    assert root.place(0.04) == 20


def test_the_strongest_control_of_a_line_is_compared():
    values = {"a": 0.2, "mine": 0.1, "b": 0.5, "oracle": 1.0, "c": float("nan")}
    assert Roles("mine").kinds(values) == {
        "a": "control",
        "b": "compared",
        "c": "control",
        "oracle": "oracle",
        "mine": "own",
    }
    assert Roles("mine", "a").kinds(values)["a"] == "compared"
    assert Roles("mine").kinds({"mine": 1.0}) == {"mine": "own"}


def test_scores_stand_in_order_below_the_encoder(result):
    figure = scores(result)
    assert len(figure.panels) == len(result.rows)
    for panel, row in zip(figure.panels, result.rows, strict=True):
        assert panel.lines[0].name == "mine"
        assert panel.lines[0].own
        others = [float(line.cells[0][0].replace("−", "-")) for line in panel.lines[1:]]
        assert others == sorted(others, reverse=True)
        assert panel.lines[0].cells[0][0] == number(row.estimates["mine"].value)
        compared = [ln.name for ln in panel.lines for m in ln.marks if m.kind == "compared"]
        assert compared == [result.label(row.verdict.control)]


def test_spoilt_images_are_drawn_beside_the_score_as_it_is():
    found = diagnostic("pathological")
    figure = of_diagnostic(found, Roles("mine", "gaussian", {SCORES[0]: 0.25}))
    panel = figure.panels[0]
    assert panel.title == SCORES[0]
    assert [line.name for line in panel.lines] == list(ASKED["pathological"])
    assert [text for _, _, text in panel.rules] == ["original 0.90", "chance 0.25"]
    for line in panel.lines:
        own = next(f for f in found.findings if (f.encoder, f.condition) == ("mine", line.name))
        assert line.stretch == (panel.axis.place(0.9), panel.axis.place(own.value))
        assert {m.kind for m in line.marks} <= {"own", "compared", "control"}
        assert line.cells[0] == (number(own.value), "own")


def test_learning_curves_rise_with_the_number():
    found = diagnostic("learning")
    curves = of_diagnostic(found, Roles("mine")).curves
    assert [c.title for c in curves] == list(SCORES)
    assert [label for _, label in curves[0].places] == ["1", "2", "4", "7"]
    assert curves[0].unit == "plates"
    own = curves[0].series[-1]
    assert (own.kind, len(own.points), len(own.band)) == ("own", 4, 8)
    by = {f.condition: f.value for f in found.findings[:8] if f.quantity == SCORES[0]}
    expected = [100 - curves[0].axis.place(by[c]) for c in sorted(by, key=lambda c: int(c[0]))]
    np.testing.assert_allclose([y for _, y in own.points], expected, atol=0.011)  # 2 decimals


def test_numberless_conditions_make_no_curve():
    found = diagnostic("learning")
    worded = tuple(replace(f, at=np.nan) for f in found.findings)
    figure = of_diagnostic(replace(found, findings=worded), Roles("mine"))
    assert figure.curves == ()
    assert len(figure.panels) == 2


@pytest.mark.parametrize("name", [n for n in ASKED if n != "validation"])
def test_every_diagnostic_with_intervals_is_drawn(name):
    found = diagnostic(name)
    figure = of_diagnostic(found, Roles("mine"))
    assert figure.panels or figure.curves
    drawn = {m.title for p in figure.panels for ln in p.lines for m in ln.marks}
    drawn |= {s.name for c in figure.curves for s in c.series}
    for f in found.findings:
        assert any(t.startswith(f.encoder) for t in drawn)
    empty = replace(found, findings=tuple(replace(f, value=np.nan) for f in found.findings))
    assert of_diagnostic(empty, Roles("mine")) is None


def test_a_diagnostic_without_intervals_is_a_table_alone():
    found = diagnostic("geometry")
    bare = tuple(
        replace(f, low=np.nan, high=np.nan, reference=np.nan, reference_name="")
        for f in found.findings
    )
    assert of_diagnostic(replace(found, findings=bare), Roles("mine")) is None
    assert len(tables(replace(found, findings=bare), "mine")) == 1


def test_tables_have_contenders_down_and_what_varies_across():
    (one,) = tables(diagnostic("geometry"), "mine")
    assert one.columns == SCORES
    assert [(r.name, r.own) for r in one.rows] == [(n, n == "mine") for n in CONTENDERS]
    assert one.foot == (("chance", ("0.50", "0.50")),)
    assert one.notes == (NASTY,)
    several = tables(diagnostic("alignment"), "mine")
    assert [t.title for t in several] == list(SCORES)
    assert several[0].columns == ASKED["alignment"]
    assert several[-1].rows[-1].cells[-1].text == "–"


def test_mixing_stands_beside_conservation():
    (one,) = tables(diagnostic("mixing"), "mine")
    assert one.over == (("batches mixed", 2), ("biology kept", 1))
    assert one.columns == ("iLISI", "kBET", "cLISI")
    (factors,) = tables(diagnostic("factors"), "mine")
    assert [c.depth for c in factors.rows[0].cells] == [
        round(100 * f.value) for f in diagnostic("factors").findings[:4]
    ]


def test_many_quantities_stand_below_each_other():
    found = [
        zoo.Finding(encoder=who, quantity=f"q{k}", value=k / 10)
        for who in ("mine", "control")
        for k in range(9)
    ]
    (table,) = tables(
        zoo.Diagnostic(
            name="readouts",
            title="t",
            how_to_read="r",
            findings=tuple(found),
        ),
        "mine",
    )
    assert table.columns == ("mine", "control")
    assert [r.name for r in table.rows] == [f"q{k}" for k in range(9)]


def test_references_and_notes_stay_with_their_cells_where_they_differ():
    found = [
        zoo.Finding(
            encoder=who, quantity=q, value=0.5, reference=r, reference_name="expected", note=note
        )
        for who, r, note in (("a", 0.1, "of 3"), ("b", 0.2, "of 4"))
        for q in ("x", "y")
    ]
    (table,) = tables(
        zoo.Diagnostic(
            name="robustness",
            title="t",
            how_to_read="r",
            findings=tuple(found),
        ),
        "a",
    )
    assert table.foot == ()
    assert [c.small for c in table.rows[1].cells] == ["expected 0.20"] * 2
    assert [r.detail for r in table.rows] == ["of 3", "of 4"]
    found[0] = replace(found[0], note="other")
    (table,) = tables(
        zoo.Diagnostic(
            name="robustness",
            title="t",
            how_to_read="r",
            findings=tuple(found),
        ),
        "a",
    )
    assert [c.mark for r in table.rows for c in r.cells] == ["1", "2", "3", "3"]
    assert table.notes == ("1: other", "2: of 3", "3: of 4")


def test_metric_validation_says_what_each_metric_is():
    def rates(quantity, biology, shortcut):
        return [
            zoo.Finding(
                encoder=side, quantity=quantity, condition=f"effect {e}", at=e, value=v, low=0
            )
            for side, values in (("biology", biology), ("shortcut", shortcut))
            for e, v in zip((0.5, 1, 2), values, strict=True)
        ]

    found = rates("blind one", (0, 0, 0.1), (0, 0, 0))
    found += rates("fooled one", (0.2, 1, 1), (0.1, 0.9, 1))
    found += rates("good one", (0.2, 1, 1), (0, 0.05, 0.1))
    table = tables(
        zoo.Diagnostic(
            name="validation",
            title="t",
            how_to_read="r",
            findings=tuple(found),
            view="rates",
            order=1,
        ),
        "mine",
    )[0]
    assert [(r.name, r.cells[0].text) for r in table.rows] == [
        ("good one", "diagnostic"),
        ("fooled one", "insufficient"),
        ("blind one", "blind"),
    ]
    assert [c.text for c in table.rows[0].cells[1:]] == [
        *["20 %", "100 %", "100 %", "0 %", "5 %", "10 %"]
    ]
    # What is not in that shape is a table like any other.
    other = tables(
        zoo.Diagnostic(
            name="validation",
            title="t",
            how_to_read="r",
            findings=tuple(found[:-1]),
            view="rates",
            order=1,
        ),
        "mine",
    )
    assert {r.name for t in other for r in t.rows} == {"biology", "shortcut"}


def test_blocks_have_every_condition_for_every_quantity():
    found = diagnostic("confounds").findings + diagnostic("mixing").findings
    parts = blocks(found)
    assert sum(len(b.findings) for b in parts) == len(found)
    for part in parts:
        seen = {(f.quantity, f.condition) for f in part.findings}
        assert seen == {(q, c) for q in part.quantities for c in part.conditions}


def test_support_says_what_numbers_rest_on():
    found = [
        zoo.Finding(quantity="q", value=0, n_items=32, n_groups=8, fitted_on="training folds"),
        zoo.Finding(quantity="q", value=0, n_items=96, n_groups=8, fitted_on="training folds"),
    ]
    assert support(found) == "32 to 96 items; 8 groups; fitted on training folds."
    assert support([zoo.Finding(quantity="q", value=0, n_items=1)]) == "1 item; nothing is fitted."


@pytest.mark.long
def test_umap_keeps_clusters_apart_and_is_the_same_each_time():
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    side = np.repeat([0, 1], 15)
    rows = rng.normal(size=(30, 4)) + 30 * side[:, None]
    points = REAL_UMAP(rows)
    nearest, _ = nearest_neighbours(points, 3, metric="euclidean")
    assert (side[nearest] == side[:, None]).all()
    np.testing.assert_array_equal(points, REAL_UMAP(rows))


def test_without_umap_the_page_says_so(result, monkeypatch):
    monkeypatch.setattr(_report_map, "find_spec", lambda name: None)
    data, notes = map_data(result, umap=True)
    assert [v["name"] for v in data["views"]] == ["PCA"]
    assert any("microscopy-zoo[umap]" in sentence for sentence in notes)


def test_many_items_are_thinned_out_evenly_and_said(result):
    n = 12_000
    table = pd.DataFrame({"dose": np.arange(n) % 4, "plate": np.arange(n) % 8})
    matrix = np.random.default_rng(0).normal(size=(n, 3)).astype("f4")
    matrix[7] = np.nan
    many = zoo.Embeddings(matrix, table, {"encoder": "mine"})
    bare = replace(result.dataset, metadata=table, read=None, profiles={"mine": None})
    data, notes = map_data(replace(result, embeddings=many, dataset=bare), umap=False)
    assert len(data["rows"]) == 2000
    assert len(as_json(data)) < 2e5
    assert notes == (
        "1 of 12000 items have NaN or infinite embeddings.",
        "2000 of 12000 items are drawn, evenly chosen.",
    )
    assert spread_out(10, 4).tolist() == [0, 3, 6, 9]


def test_pictures_are_spread_over_the_labels():
    labels = np.array(["a"] * 90 + ["b"] * 2 + ["c"] * 8)
    chosen = spread_over(labels, 20)
    kinds, counts = np.unique(labels[chosen], return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {"a": 10, "b": 2, "c": 8}
    assert spread_over(labels, 200).tolist() == list(range(100))
    assert len(spread_over(np.arange(50), 20)) == 20


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


def test_numbers_are_a_scale_and_names_are_not(result):
    table = pd.DataFrame(
        {
            "dose": [0, 1, 2, 3],
            "plate": [10, 9, 9, 10],
            "alive": [True, False, True, True],
            "area": [0.5, np.nan, np.inf, 2.0],
            "constant": 1,
            "nothing": np.nan,
            "some": ["x", None, "y", "x"],
        }
    )
    found = {c["name"]: c for c in colourings(result, table)}
    kinds = {name: c["kind"] for name, c in found.items()}
    assert kinds == {
        "dose": "number",
        "plate": "category",
        "alive": "category",
        "area": "number",
        "some": "category",
    }
    assert (found["dose"]["role"], found["plate"]["role"]) == ("biology", "nuisance")
    assert found["plate"]["names"] == ["9", "10"]
    assert found["plate"]["values"] == [1, 0, 0, 1]
    assert found["area"]["values"] == [0.5, None, None, 2.0]
    assert found["some"]["values"] == [0, -1, 1, 0]
    looks = {look(code) for code in range(_report_map.CATEGORIES)}
    assert len(looks) == _report_map.CATEGORIES


def test_captions_name_what_was_asked_first(result):
    table = pd.DataFrame({"a": [1.23456], **{f"c{k}": ["x" * 99] for k in range(20)}, "dose": [2]})
    found = captions(table, result.dataset.design)
    assert found["columns"][:3] == ["a", "dose", "c0"]
    assert found["rows"][0][:2] == ["1.23", "2"]
    assert len(found["rows"][0][2]) == 80
    assert len(found["columns"]) == _report_map.COLUMNS


def decoded(url):
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_pictures_show_colours_as_they_are_and_channels_as_light():
    colours = np.zeros((3, 32, 32), np.uint8)
    colours[0], colours[2] = 200, 90
    drawn = decoded(picture(zoo.Image(colours, ("red", "green", "blue")), 32))
    assert drawn[16, 16].tolist() == [200, 0, 90]
    step = np.zeros((1, 32, 32), np.float32)
    step[:, 16:] = 1
    step[0, 0, 0] = np.nan
    grey = decoded(picture(zoo.Image(step), 32))
    assert grey[31, 5].tolist() == [255, 255, 255]
    assert grey[5, 5].tolist() == [0, 0, 0]
    five = zoo.Image(np.ones((5, 40, 40), np.uint16), tuple("abcde"))
    assert decoded(picture(five, 32)).shape == (32, 32, 3)
    assert tinted(five).startswith(
        "Additive colours: a green, b magenta, c yellow; the other 2 of 5 channels are not drawn."
    )
    large = zoo.Image(np.random.default_rng(0).integers(0, 9, (1, 3000, 2000), dtype=np.uint8))
    assert decoded(picture(large, 32)).shape[:2] == (32, 21)


def test_an_image_that_cannot_be_read_any_more_has_no_picture(result):
    def gone(i):
        raise errors.ImageError("gone")

    lost = replace(result, dataset=replace(result.dataset, read=gone))
    assert thumbnails(lost, np.arange(32)) == [None] * 32


def spot(browser, item):
    return browser.run(
        f"(() => {{ const b = document.querySelector('#map .point[data-i=\"{item}\"]')"
        ".getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )


def choose(browser, place):
    return browser.run(
        f"(() => {{ const s = document.querySelector('#map select'); s.selectedIndex = {place}; "
        "s.dispatchEvent(new Event('change')); "
        "return document.querySelector('#map .key').textContent; })()"
    )


TIP = "document.querySelector('#map .tip')"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # preexec_fn beside threads
def test_a_browser_hovers_a_point_and_switches_the_colouring(page, browser):
    browser.open(page)
    browser.run("document.querySelector('#map').scrollIntoView({behavior: 'instant'})")
    assert not browser.run("document.querySelector('#map').hidden")
    assert browser.run("document.querySelectorAll('#map .point').length") == 32
    assert browser.run(f"{TIP}.hidden")
    browser.hover(*spot(browser, 5))
    assert not browser.run(f"{TIP}.hidden")
    browser.until(f"{TIP}.querySelector('img').naturalWidth > 0")
    assert "plateP1" in browser.run(f"{TIP}.textContent")

    fill = "document.querySelector('#map .point[data-i=\"5\"]').getAttribute('fill')"
    assert choose(browser, 1).startswith("plateP0P1")
    first = browser.run(fill)
    browser.run("document.querySelectorAll('#map .key button')[1].click()")
    dimmed = "document.querySelectorAll('#map .point.dim').length"
    assert browser.run(dimmed) == 28
    assert choose(browser, 3).startswith("depth")
    assert browser.run(fill) != first
    assert browser.run(dimmed) == 0
    # A name that is markup is shown as the text it is.
    assert choose(browser, 4).startswith(NASTY)

    place = "document.querySelector('#map .point[data-i=\"5\"]').getAttribute('transform')"
    before = browser.run(place)
    browser.run("document.querySelectorAll('#map .views button')[1].click()")
    assert browser.run(place) != before

    browser.hover(1, 1)
    browser.run("document.querySelector('#map .field > svg').focus()")
    browser.press("ArrowRight")
    assert not browser.run(f"{TIP}.hidden")
    browser.press("Escape")
    assert browser.run(f"{TIP}.hidden")
    assert browser.errors == []
    assert [r for r in browser.requests if not r.startswith(("file:", "data:"))] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_phone_needs_no_sideways_scroll_and_paper_shows_everything(page, browser):
    browser.open(page)
    browser.resize(360, 740, mobile=True)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.run("document.querySelector('#map').scrollIntoView({behavior: 'instant'})")
    browser.tap(*spot(browser, 9))
    assert not browser.run(f"{TIP}.hidden")
    assert "plateP2" in browser.run(f"{TIP}.textContent")

    browser.resize(1280, 900)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = false; })")
    shown = "getComputedStyle(document.querySelector('{}')).display"
    assert browser.run(shown.format(".stills")) == "none"
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(shown.format(".stills")) == "grid"
    assert browser.run(shown.format("#map")) == "none"
    assert browser.run("document.querySelectorAll('details.part:not([open])').length") == 0
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run("document.querySelectorAll('details.part[open]').length") == 0
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.run("location.hash = '#mixing'")
    browser.until("document.querySelector('#mixing').open")
    assert browser.errors == []
