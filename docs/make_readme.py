"""Remake what README.md shows: the example, the demo's table, the list of encoders, the pictures.

``--check`` changes nothing and fails when the lists of encoders and datasets are out of date.
"""

import contextlib
import csv
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
EXAMPLE = """\
import numpy as np
import zoo

rng = np.random.default_rng(0)
well = rng.integers(0, 256, (2, 640, 640), dtype=np.uint8)  # two channels
field = rng.integers(0, 4096, (5, 512, 512), dtype=np.uint16)  # five channels

encoder = zoo.load("chadavit-untrained")  # or "chadavit-idrcell100k", where the hub is in reach
features = encoder.encode([well, field], channels=True)  # side by side, nothing is padded
print(features.embedding.shape, features.channels.shape)
print(zoo.evaluate("pixel-statistics", "phantom").headline)
"""


def example() -> str:
    """Run the example and show its output."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(EXAMPLE, {})
    return f"```python\n{EXAMPLE}```\n\n```text\n{out.getvalue()}```"


def encoders() -> str:
    """Make the table of encoders from the registry, built-ins only."""
    from zoo.registry import discover

    found = discover(environ={"ZOO_PLUGINS": ""})
    lines = ["| name | role | channels | what it is |", "|---|---|---|---|"]
    for spec in sorted(found.encoders.values(), key=lambda s: (s.role == "control", s.name)):
        low, high = spec.channels
        channels = f"{low}+" if high is None else f"{low}–{high}"
        role = f"control, {spec.control}" if spec.control else "encoder"
        lines.append(f"| `{spec.name}` | {role} | {channels} | {spec.summary} |")
    for family in found.families.values():
        lines.append(f"| `{family.scheme}:…` | family | | {family.summary} |")
    return "\n".join(lines)


def datasets() -> str:
    """Make the table of datasets from the registry, built-ins only."""
    from zoo.registry import discover

    found = discover(environ={"ZOO_PLUGINS": ""})
    lines = ["| name | what it is | terms |", "|---|---|---|"]
    for spec in sorted(found.datasets.values(), key=lambda s: s.name):
        lines.append(f"| `{spec.name}` | {spec.summary} | {spec.licence} |")
    return "\n".join(lines)


def demo(folder: Path) -> str:
    """Run the demo and show the table of the trained network."""
    import zoo

    with contextlib.chdir(folder):  # for a short name
        run = zoo.train("phantom", "trained", device="cpu")
        result = zoo.evaluate(run.encoder, "phantom")
    result.to_html(folder / "index.html")
    text = "\n".join(line.rstrip() for line in result.render(width=118).splitlines())
    return f"```text\n{text.strip()}\n```"


def speed() -> str:
    """Draw and show the committed rows of the encoder benchmark, for each machine."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from encode_figure import draw
    from encode_table import table
    from kept_rows import read

    parts = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("encode-*.csv")):
        rows = read(path)
        first = rows[0]
        target = ROOT / "docs" / f"{path.stem}.png"
        draw(rows, target)
        parts.append(
            f"![Speed of the encoder beside its rivals, {first['device']}](docs/{target.name})\n\n"
            f"{table(rows)}\n\n{first['device']}, {first['threads']} threads, "
            f"torch {first['torch']}, commit {first['commit']}."
        )
    return "\n\n".join(parts)


def networks() -> str:
    """Show the committed rows of timm networks, one table for each machine."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from bench_timm import table
    from kept_rows import read

    parts = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("timm-*.csv")):
        rows = read(path)
        parts.append(f"{table(rows)}\n\n{rows[0]['device']}, {rows[0]['planes']} planes at once.")
    return "\n\n".join(parts)


def attention() -> str:
    """Draw the committed rows of the attention benchmark, one figure for each machine."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from attention_figure import draw
    from kept_rows import read

    lines = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("attention-*.csv")):
        rows = read(path)
        target = ROOT / "docs" / f"{path.stem}.png"
        draw(rows, target)
        lines.append(
            f"![Speed of attention beside its rivals, {rows[0]['device']}](docs/{target.name})"
        )
    return "\n".join(lines)


def metrics() -> str:
    """Show the committed rows of retrieval beside copairs, and of 100 000 profiles."""
    parts = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("retrieval-*.csv")):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        lines = [
            "| negatives | zoo | copairs | times as fast | of its memory |",
            "|---|---:|---:|---:|---:|",
        ]
        for ours, theirs in zip(rows[::2], rows[1::2], strict=True):
            a, b = float(ours["median_s"]), float(theirs["median_s"])
            share = float(ours["peak_mib"]) / float(theirs["peak_mib"])
            times = f"{a:.2g} s | {b:.3g} s | {b / a:.0f} | {share:.0%}"
            lines.append(f"| {ours['definition']} | {times} |")
        parts.append("\n".join(lines))
        size = f"{rows[0]['profiles']} profiles of {rows[0]['dimensions']} dimensions"
        parts.append(f"{size}, {rows[0]['device']}.")
    for path in sorted((ROOT / "benchmarks" / "results").glob("profiles-*.csv")):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        total = rows[-1]
        steps = ", ".join(
            f"{r['what']} {float(r['wall_s']):.0f} s" for r in rows[:-1] if float(r["wall_s"]) > 5
        )
        machine = f"{total['device']}, {total['threads']} threads"
        parts.append(
            f"{int(total['profiles']):,} profiles of {total['dimensions']} dimensions: "
            f"{float(total['wall_s']):.0f} s for all metrics together ({steps}), at most "
            f"{float(total['peak_mib']) / 1024:.1f} GiB. {machine}."
        )
    return "\n\n".join(parts)


def verdicts() -> str:
    """Draw and show the committed rows of the simulation of verdicts."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from kept_rows import read
    from verdict_figure import draw, draw_planted, summary, table

    rows = read(ROOT / "benchmarks" / "results" / "verdicts-of-equal-encoders.csv")
    target = ROOT / "docs" / "verdicts-of-equal-encoders.png"
    draw(rows, target)
    draw_planted(rows, ROOT / "docs" / "planted-differences.png")
    image = f"![How often equal encoders are told apart](docs/{target.name})"
    return f"{image}\n\n{table(rows)}\n\n{summary(rows)}"


def picture(page: Path) -> None:
    """Photograph the top of the report."""
    photograph(page, ROOT / "docs" / "report.png", "1150,1230")


def explorer(folder: Path) -> None:
    """Photograph the explorer of the cells of the phantom, with one of them picked."""
    import tifffile

    import zoo

    wells = zoo.load_dataset("phantom")
    table = wells.metadata[["image", "plate", "well", "dose", "density"]].copy()
    plate = folder / "phantom"
    plate.mkdir()
    for i, name in enumerate(table["image"]):
        tifffile.imwrite(plate / f"{name}.tif", wells[i].pixels, photometric="minisblack")
    table["image"] += ".tif"
    table["stains"] = "|".join(wells[0].stains)
    table.to_csv(plate / "labels.csv", index=False)
    cells = zoo.open_images(plate, crops="nuclei", crop_size=32)
    page = folder / "explore.html"
    profiles = zoo.embed(cells, "texture")
    zoo.explore(profiles, page, images=cells, colour="dose", pictures=len(cells))
    text = page.read_text(encoding="utf-8")
    start = "<script>addEventListener('load', () => explorer.pick(700))</script></body>"
    page.write_text(text.replace("</body>", start), encoding="utf-8")
    photograph(page, ROOT / "docs" / "explore.png", "1300,820")


def photograph(page: Path, target: Path, size: str) -> None:
    """Photograph a page with headless Chromium."""
    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    )
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
            + ["--disable-background-networking", f"--user-data-dir={profile}"]
            + [f"--window-size={size}", f"--screenshot={target}", page.as_uri()],
            check=True,
            capture_output=True,
        )


def fill(text: str, section: str, content: str) -> str:
    """Put content between the two marks of a section."""
    pattern = rf"(<!-- {section} -->\n).*?(<!-- /{section} -->)"
    filled, count = re.subn(pattern, lambda m: f"{m[1]}{content}\n{m[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"README.md must mark the section {section!r} once, not {count} times")
    return filled


def main() -> None:
    """Fill all sections, or check those that follow from the code alone."""
    text = README.read_text()
    listed = {"encoders": encoders(), "datasets": datasets()}
    if "--check" in sys.argv:
        for section, content in listed.items():
            if fill(text, section, content) != text:
                raise SystemExit(f"the table of {section} is out of date: run 'make readme'")
        return
    with tempfile.TemporaryDirectory() as folder:
        for section, content in {
            "example": example(),
            "demo": demo(Path(folder)),
            **listed,
            "speed": speed(),
            "networks": networks(),
            "attention": attention(),
            "metrics": metrics(),
            "verdicts": verdicts(),
        }.items():
            text = fill(text, section, content)
        picture(Path(folder, "index.html"))
        explorer(Path(folder))
    README.write_text(text)


if __name__ == "__main__":
    main()
