"""The report: one HTML page with figures, data and script inside, readable without a network."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from zoo.registry import MissingExtraError

from .._data.design import design_of
from .._evaluation.findings import Diagnostic
from .._evaluation.scorecard import Scorecard
from .blocks import unique
from .colours import SHAPES, VIRIDIS
from .figures import Cast, of_diagnostic, scores, verdicts
from .map import as_json, map_data, still
from .marks import Figure, interval, number
from .pictures import item_picture, tinted
from .tables import Table, support, tables

_PICTURE = 150
_PICTURES = 12
_READING = 330  # characters


@dataclass(frozen=True)
class Section:
    """A diagnostic with its figure, its tables and the sentence that stands for it when folded."""

    diagnostic: Diagnostic
    figure: Figure | None
    tables: tuple[Table, ...]
    support: str

    @property
    def gist(self) -> str:
        """What was found, or why nothing was, or how to read it."""
        d = self.diagnostic
        if d.conclusions:
            return d.conclusions[0]
        if not d.findings:
            return f"Not computed: {d.not_computed[0]}" if d.not_computed else "Nothing was found."
        return self.reading[0]

    @property
    def reading(self) -> tuple[str, str]:
        """How to read it: what is short enough to stand above a figure, and the rest."""
        sentences = re.split(r"(?<=\.) (?=[A-Z0-9])", self.diagnostic.how_to_read)
        kept = 1
        while kept < len(sentences) and len(" ".join(sentences[: kept + 1])) <= _READING:
            kept += 1
        return " ".join(sentences[:kept]), " ".join(sentences[kept:])


def write_report(result: Scorecard, path: Path) -> None:
    """Write the page for a result; the folder is made if need be."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError(
            'the report needs jinja2: pip install "microscopy-zoo[report]"'
        ) from error
    here = Path(__file__).parent / "assets"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, breakable=_breakable)
    drawn, said = map_data(result, umap=bool(result.diagnostics))
    sections = [_section(result, d) for d in result.diagnostics]
    sections.sort(key=lambda s: s.diagnostic.order)
    # What could not be computed comes after what was.
    middle = [s for s in sections if s.diagnostic.order == 0]
    middle.sort(key=lambda s: not s.diagnostic.findings)
    shared, own = _provenance(result)
    page = environment.get_template("page.html.j2").render(
        result=result,
        spec=result.dataset.spec,
        label=design_of(result.dataset).label,
        facts=_facts(result),
        verdicts=verdicts(result),
        scores=scores(result),
        first=[s for s in sections if s.diagnostic.order < 0],
        middle=middle,
        last=[s for s in sections if s.diagnostic.order > 0],
        map_data=as_json(drawn) if drawn else "",
        map_said=said,
        roles=[c["role"] for c in drawn["colourings"]] if drawn else [],
        stills=_stills(drawn) if drawn else [],
        shapes=SHAPES,
        viridis=VIRIDIS,
        pictures=_by_label(result),
        tints=_tints(result),
        shared=shared,
        own=own,
        raw=json.dumps({n: r for n, (_, r) in result.contenders.items()}, indent=1, default=str),
        style=(here / "page.css").read_text(encoding="utf-8"),
        script=(here / "page.js").read_text(encoding="utf-8"),
        version=result.embeddings.provenance.get("zoo", ""),
        bracket=interval,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _section(result: Scorecard, diagnostic: Diagnostic) -> Section:
    cast = Cast(result.encoder, _rival(result, diagnostic), _chances(result, diagnostic))
    return Section(
        diagnostic,
        of_diagnostic(diagnostic, cast),
        tables(diagnostic, result.encoder),
        "" if diagnostic.view == "rates" else support(diagnostic.findings),
    )


def _rival(result: Scorecard, diagnostic: Diagnostic) -> str | None:
    """Untrained network to read changed images beside; elsewhere the highest control."""
    if diagnostic.view not in ("drift", "change"):
        return None
    twin = result.contenders[result.encoder][0].twin
    others = [n for n in unique(f.encoder for f in diagnostic.findings) if n != result.encoder]
    records = {n: result.contenders[n][0] for n in others if n in result.contenders}
    untrained = [n for n, record in records.items() if record.control == "untrained"]
    return next((n for n in (twin, *untrained, *others) if n in others), None)


def _chances(result: Scorecard, diagnostic: Diagnostic) -> dict[str, float]:
    """Chance of every score, for diagnostics that ask for the same scores anew."""
    if not diagnostic.scores_again:
        return {}
    return {f"{row.task}, {row.metric}": row.chance for row in result.rows}


def _facts(result: Scorecard) -> list[str]:
    """The size of the evaluation, in a few words."""
    rows = result.rows
    items, groups = (max(getattr(r, k) for r in rows) for k in ("n_items", "n_groups"))
    group = design_of(result.dataset).group
    controls = len(rows[0].estimates) - 1
    counts = (
        (items, "item"),
        (groups, f"independent {group}"),
        (len(rows), "score"),
        (controls, "control"),
        (max(r.permutations for r in rows), "permutation"),
    )
    return [f"{n:,} {what}{'s' * (n != 1)}".replace(",", " ") for n, what in counts if n]


def _stills(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """Principal components in the first two colourings, for paper and without scripts."""
    chosen = drawn["colourings"][:2] or [None]
    return [still(drawn, c) for c in chosen]


def _examples(result: Scorecard) -> list[tuple[str, int]]:
    """One item for each value of the label, with a caption, in the label's order."""
    if result.dataset.read is None:
        return []
    label = design_of(result.dataset).label
    labels = result.dataset.metadata[label]
    values = sorted(labels.dropna().unique(), key=lambda v: (str(type(v)), v))
    if len(values) > _PICTURES:
        values = [values[i] for i in np.linspace(0, len(values) - 1, _PICTURES).astype(int)]
    first = [int(np.flatnonzero((labels == v).to_numpy())[0]) for v in values]
    return [(f"{label} {_plain(v)}", i) for v, i in zip(values, first, strict=True)]


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and isfinite(value) else str(value)


def _by_label(result: Scorecard) -> list[tuple[str, str]]:
    drawn = [(text, item_picture(result, i, _PICTURE)) for text, i in _examples(result)]
    return [(text, url) for text, url in drawn if url is not None]


def _tints(result: Scorecard) -> str:
    for _, item in _examples(result)[:1]:
        return tinted(result.dataset[item])
    return ""


def _provenance(
    result: Scorecard,
) -> tuple[list[tuple[str, str]], list[tuple[str, list[tuple[str, str]]]]]:
    """What all embeddings have in common, and what each has of its own."""
    records = {name: found for name, (_, found) in result.contenders.items()}
    keys = list(dict.fromkeys(k for found in records.values() for r in found for k in r))
    everyone = [r for found in records.values() for r in found]
    shared: list[tuple[str, str]] = []
    kept: list[str] = []
    for key in keys:
        values = _values(everyone, key)
        if len(values) == 1 and all(key in r for r in everyone):
            shared.append((_worded(key), values[0]))
        elif key != "encoder":
            kept.append(key)
    own = []
    for name, found in records.items():
        fields = [(_worded(k), ", ".join(_values(found, k))) for k in kept]
        own.append((name, [(k, v) for k, v in fields if v and v != "–"]))
    return [(k, v) for k, v in shared if v != "–"], own


def _values(records: Iterable[dict[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(_told(r[key]) for r in records if key in r))


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "–"
    return "–" if value is None else str(value)


def _worded(key: str) -> str:
    return key.replace("_", " ")


def _breakable(text: str) -> Any:
    """Let long names break after colons, slashes and underscores."""
    from markupsafe import Markup, escape

    # Entities hold none of these signs.
    return Markup(re.sub(r"([:/_])(?=\S)", r"\1<wbr>", str(escape(text))))
