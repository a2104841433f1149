"""Frames a second of the explorer with 100 000 points, in headless Chromium without a GPU.

``python benchmarks/bench_explore.py`` writes a page, moves and enlarges its map, and keeps a row
in ``benchmarks/results``. Timed are whole frames, from one to the next, and drawing alone. It fails
below 30 frames a second; other work on the machine counts.
"""

import argparse
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import kept_rows
import numpy as np
import pandas as pd
from machine import machine

import zoo

ROOT = Path(__file__).resolve().parents[1]
FIELDS = ["points", "frames_per_second", "draw_median_ms", "draw_p90_ms", "page_mib", "window"]
LEAST = 30.0
FRAMES = 120
WINDOW = (1500, 950)
MOVE = """new Promise((done) => {
  const times = [], start = performance.now();
  let n = 0;
  function frame() {
    explorer.look(1 + n / 40, n / 2000, 0);
    const before = performance.now();
    explorer.draw();
    times.push(performance.now() - before);
    if (++n < COUNT) return requestAnimationFrame(frame);
    done({ rate: (1000 * n) / (performance.now() - start), times });
  }
  requestAnimationFrame(frame);
})"""


def profiles(count: int) -> zoo.Embeddings:
    """Draw sixty clusters on nine plates."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 60, count)
    matrix = 3 * rng.normal(size=(60, 16))[cluster] + rng.normal(size=(count, 16))
    table = {
        "compound": [f"c{k:02d}" for k in cluster],
        "plate": [f"P{i % 9}" for i in range(count)],
    }
    return zoo.Embeddings(matrix.astype(np.float32), pd.DataFrame(table), {"encoder": "drawn"})


def measure(page: Path) -> dict[str, object]:
    """Move the map of a page."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import chromium

    with chromium.Page(*WINDOW, patience=300) as browser:
        browser.open(page)
        browser.until("!!window.explorer")
        code = MOVE.replace("COUNT", str(FRAMES))
        found = browser.call(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )["result"]["value"]
    times = np.array(found["times"])
    return {
        "frames_per_second": found["rate"],
        "draw_median_ms": float(np.median(times)),
        "draw_p90_ms": float(np.percentile(times, 90)),
    }


def main() -> None:
    """Measure, keep a row, and fail below the least rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    points = parser.parse_args().points
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "explore.html")
        zoo.explore(profiles(points), page, umap=False)
        row = {"points": points, "page_mib": page.stat().st_size / 2**20, **measure(page)}
    here = machine("cpu")
    row |= {"window": "{} × {}".format(*WINDOW), **here, "zoo": version("microscopy-zoo")}
    print(row)
    path = kept_rows.path_for("explore", here["device"])
    kept_rows.write(path, [*FIELDS, *here, "zoo"], [row])
    if row["frames_per_second"] < LEAST:
        raise SystemExit(f"{row['frames_per_second']:.0f} frames a second, less than {LEAST:.0f}")


if __name__ == "__main__":
    main()
