"""Figures of the report: scores, verdicts, and each diagnostic."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nan

from .._evaluation.findings import Diagnostic, Finding
from .._evaluation.scorecard import Row, Scorecard
from .blocks import blocks, common_reference, unique
from .marks import (
    Axis,
    Curves,
    Figure,
    Kind,
    Line,
    Mark,
    Panel,
    Rule,
    Series,
    axis,
    interval,
    mark,
    number,
    signed,
    symmetric,
)

ORACLE = "oracle"
MOST_PANELS = 12


@dataclass(frozen=True)
class Roles:
    """The encoder under test, the control it is compared with, and chance levels.

    `compared` is None for the highest control of each line.
    """

    subject: str
    compared: str | None = None
    chance: Mapping[str, float] = field(default_factory=dict)

    def kinds(self, values: Mapping[str, float]) -> dict[str, Kind]:
        """Kind of mark for each contender of a line."""
        others = {n: v for n, v in values.items() if n not in (self.subject, ORACLE)}
        known = {n: v for n, v in others.items() if isfinite(v)}
        compared = self.compared or max(known, key=lambda n: known[n], default=None)
        kinds: dict[str, Kind] = dict.fromkeys(others, "control")
        if compared in others:
            kinds[compared] = "compared"
        if ORACLE in values:
            kinds[ORACLE] = "oracle"
        if self.subject in values:
            kinds[self.subject] = "own"
        return kinds

    def legend(self, kinds: Iterable[str], *rules: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """Descriptions of the kinds that were drawn."""
        words = {
            "own": self.subject,
            "compared": self.compared or "highest control",
            "oracle": "oracle: encodes the planted truth",
            "control": "other controls",
        }
        drawn = set(kinds)
        return (*((k, w) for k, w in words.items() if k in drawn), *rules)


def verdicts(result: Scorecard) -> Panel:
    """One line for each score: the difference to the control that the verdict names."""
    judged = [r.verdict for r in result.rows]
    known = [x for v in judged if v.control for x in (v.gap, v.low, v.high) if isfinite(x)]
    on = symmetric(known)
    lines = []
    for row in result.rows:
        v = row.verdict
        marks: tuple[Mark, ...] = ()
        cells = (("–", ""), ("", "soft"))
        detail = ""
        if v.control is not None:
            kind: Kind = "own" if v.outcome == "beats all controls" else "compared"
            if v.outcome in ("at chance", "below chance"):
                kind = "control"
            if isfinite(v.gap):
                marks = (mark(kind, "difference", v.gap, v.low, v.high, on),)
            cells = ((signed(v.gap), ""), (interval(v.low, v.high, signed), "soft"))
            both = (row.estimates[result.encoder].value, row.estimates[v.control].value)
            detail = f"{number(both[0])} against {number(both[1])}"
            if isfinite(v.detectable):
                detail += f"; {row.n_groups} groups can show ±{number(v.detectable)}"
        outcome = v.outcome.replace(" ", "-")
        lines.append(Line(f"{row.task}, {row.metric}", marks, cells, False, None, detail, outcome))
    rules = ((50.0, "zero", "no difference"),)
    return Panel("", on, tuple(lines), ("difference", "95 % CI"), rules)


def scores(result: Scorecard) -> Figure:
    """One panel for each score: every contender with its interval, chance as a line."""
    panels = tuple(_score_panel(result, row) for row in result.rows)
    drawn = {m.kind for p in panels for line in p.lines for m in line.marks}
    words = {
        "own": result.encoder,
        "compared": "control named in the verdict",
        "control": "other controls",
    }
    legend = [(k, w) for k, w in words.items() if k in drawn]
    return Figure(
        panels, legend=(*legend, ("chance", "chance"), ("bar", "95 % confidence interval"))
    )


def _score_panel(result: Scorecard, row: Row) -> Panel:
    estimates = row.estimates
    on = axis([row.chance, *(x for e in estimates.values() for x in (e.value, e.low, e.high))])

    def order(name: str) -> tuple[bool, float]:
        value = estimates[name].value
        return name != result.encoder, -value if isfinite(value) else inf

    lines = []
    for name in sorted(estimates, key=order):
        e = estimates[name]
        kind: Kind = "control"
        if name == result.encoder:
            kind = "own"
        elif name == row.verdict.control:
            kind = "compared"
        marks = (mark(kind, name, e.value, e.low, e.high, on),) if isfinite(e.value) else ()
        cells = ((number(e.value), kind), (interval(e.low, e.high), "soft"))
        lines.append(Line(result.label(name), marks, cells, kind == "own"))
    rules: tuple[Rule, ...] = ()
    if isfinite(row.chance):
        rules = ((on.place(row.chance), "chance", f"chance {number(row.chance)}"),)
    return Panel(f"{row.task}, {row.metric}", on, tuple(lines), ("score", "95 % CI"), rules)


def of_diagnostic(diagnostic: Diagnostic, roles: Roles) -> Figure | None:
    """Draw a diagnostic, or return None if a table is sufficient."""
    found = diagnostic.findings
    if not any(isfinite(f.value) for f in found) or diagnostic.view == "rates":
        return None
    if diagnostic.view == "curves" and (curves := _curves(diagnostic, roles)) is not None:
        return curves
    if diagnostic.view == "drift":
        return _figure([_panel(found, "condition", "", roles, root=True)], roles)
    if diagnostic.view == "change":
        panels = [
            _panel([f for f in found if f.quantity == q], "condition", q, roles, joined=True)
            for q in unique(f.quantity for f in found)
        ]
        return _figure(panels, roles)
    if not any(isfinite(f.low) or isfinite(f.reference) for f in found):
        return None
    panels = []
    for block in blocks(found):
        if roles.subject not in {f.encoder for f in block.findings}:
            panels += [
                _panel([f for f in block.findings if f.quantity == q], "encoder", q, roles)
                for q in block.quantities
            ]
        elif block.by_condition:
            for condition in block.conditions:
                some = [f for f in block.findings if f.condition == condition]
                # Quantities share an axis only if all are at most 1, such as shares and scores.
                if max((f.value for f in some if isfinite(f.value)), default=0) <= 1 + 1e-6:
                    panels.append(_panel(some, "quantity", condition, roles))
        else:
            panels += [
                _panel([f for f in block.findings if f.quantity == q], "condition", q, roles)
                for q in block.quantities
            ]
    return _figure(panels[:MOST_PANELS], roles) if panels else None


def _figure(panels: Sequence[Panel], roles: Roles) -> Figure:
    marks = [m for p in panels for line in p.lines for m in line.marks]
    kinds = {m.kind for m in marks}
    rules: list[tuple[str, str]] = []
    names = {rule[1] for p in panels for rule in p.rules}
    if "as-is" in names:
        rules.append(("as-is", f"{roles.subject}, original images"))
    if "reference" in kinds:
        beside = unique(m.title.rpartition(" ")[0] for m in marks if m.kind == "reference")
        rules.append(("reference", " or ".join(beside)))
    if any(m.low is not None for m in marks):
        rules.append(("bar", "95 % confidence interval"))
    return Figure(tuple(panels), legend=roles.legend(kinds, *rules))


def _panel(
    found: Sequence[Finding],
    down: str,
    title: str,
    roles: Roles,
    *,
    root: bool = False,
    joined: bool = False,
) -> Panel:
    """Lines for the values of one field of the findings, contenders on each."""
    on = axis((x for f in found for x in (f.value, f.low, f.high, f.reference)), root=root)
    names = unique(getattr(f, down) for f in found)
    several = len({f.encoder for f in found} - {ORACLE}) > 1
    lines = []
    common = None if joined or down == "encoder" else common_reference(found)
    for name in names:
        mine = [f for f in found if getattr(f, down) == name]
        if down == "encoder":
            marks = [_of(f, "control", on) for f in mine if isfinite(f.value)]
            marks += [m for f in mine if (m := _reference(f, on)) is not None]
            first = mine[0]
            words = ((number(first.value), ""), (interval(first.low, first.high), "soft"))
            lines.append(Line(name, tuple(marks), words, name == roles.subject))
            continue
        kinds = roles.kinds({f.encoder: f.value for f in mine})
        by_kind = {kinds[f.encoder]: f for f in mine}
        order = ("control", "compared", "oracle", "own")
        marks = [
            _of(f, kinds[f.encoder], on)
            for f in sorted(mine, key=lambda f: order.index(kinds[f.encoder]))
            if isfinite(f.value)
        ]
        stretch = None
        own = by_kind.get("own")
        if joined and own is not None and isfinite(own.reference) and isfinite(own.value):
            stretch = (on.place(own.reference), on.place(own.value))
        elif own is not None and common is None and not root:
            marks[:0] = filter(None, [_reference(own, on)])
        shown: tuple[Kind, ...] = ("own", "compared") if several else ("own",)
        cells = tuple((number(by_kind[k].value) if k in by_kind else "", k) for k in shown)
        lines.append(Line(name or title, tuple(marks), cells, stretch=stretch))
    rules: list[Rule] = []
    if root:
        rules.append((on.place(1), "chance", "as far as another image"))
    if joined:
        own = next((f for f in found if f.encoder == roles.subject), found[0])
        if isfinite(own.reference):
            text = f"original {number(own.reference)}"
            rules.append((on.place(own.reference), "as-is", text))
    if common is not None and not root:
        rules.append((on.place(common[1]), "chance", f"{common[0]} {number(common[1])}"))
    chance = roles.chance.get(title, nan)
    if isfinite(chance) and common is None:
        rules.append((on.place(chance), "chance", f"chance {number(chance)}"))
    if down == "encoder":
        headings: tuple[str, ...] = ("value", "95 % CI")
    else:
        headings = (
            ("encoder", "control" if roles.compared else "highest control")
            if several
            else ("encoder",)
        )
    return Panel(title, on, tuple(lines), headings, tuple(rules))


def _of(f: Finding, kind: Kind, on: Axis) -> Mark:
    return mark(kind, f.encoder or f.quantity, f.value, f.low, f.high, on)


def _reference(f: Finding, on: Axis) -> Mark | None:
    if not isfinite(f.reference) or not f.reference_name:
        return None
    return mark("reference", f.reference_name, f.reference, nan, nan, on)


def _curves(diagnostic: Diagnostic, roles: Roles) -> Figure | None:
    """Scores by the number of training groups; None for a single number."""
    found = diagnostic.findings
    if len({f.at for f in found}) < 2 or not all(isfinite(f.at) for f in found):
        return None
    made = []
    for quantity in unique(f.quantity for f in found):
        some = [f for f in found if f.quantity == quantity]
        on = axis(x for f in some for x in (f.value, f.low, f.high))
        ordered = sorted({f.at for f in some})
        # Equidistant, because the numbers double.
        at = {
            n: round(4 + 92 * k / max(len(ordered) - 1, 1), 2) if len(ordered) > 1 else 50.0
            for k, n in enumerate(ordered)
        }
        last = {f.encoder: f.value for f in some if f.at == ordered[-1]}
        kinds = roles.kinds({**{f.encoder: nan for f in some}, **last})
        series = []
        for name in sorted(
            kinds, key=lambda n: ("control", "compared", "oracle", "own").index(kinds[n])
        ):
            mine = sorted(
                (f for f in some if f.encoder == name and isfinite(f.value)),
                key=lambda f: f.at,
            )
            points = tuple((at[f.at], 100 - on.place(f.value)) for f in mine)
            known = [f for f in mine if isfinite(f.low) and isfinite(f.high)]
            band = [(at[f.at], round(100 - on.place(f.high), 2)) for f in known]
            band += [(at[f.at], round(100 - on.place(f.low), 2)) for f in known[::-1]]
            kept = tuple(band) if kinds[name] in ("own", "compared") else ()
            points = tuple((x, round(y, 2)) for x, y in points)
            series.append(Series(kinds[name], name, points, kept))
        chance = roles.chance.get(quantity, nan)
        rules: tuple[Rule, ...] = ()
        if isfinite(chance):
            rules = ((round(100 - on.place(chance), 2), "chance", "chance"),)
        places = tuple((at[n], f"{n:g}") for n in ordered)
        made.append(Curves(quantity, on, places, diagnostic.unit, tuple(series), rules))
    kinds_drawn = {s.kind for c in made for s in c.series}
    more = [("chance", "chance")] if any(c.rules for c in made) else []
    words = dict(roles.legend(kinds_drawn, *more, ("band", "95 % confidence interval")))
    if roles.compared is None and "compared" in words:
        words["compared"] = "control that is highest at the end"
    return Figure(curves=tuple(made), legend=tuple(words.items()))
