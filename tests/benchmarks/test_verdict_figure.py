"""The table and the picture of the simulation of verdicts."""

import verdict_figure


def row(metric, groups, apart, **more):
    world = verdict_figure.PLAIN | {"metric": metric, "groups": str(groups), "gain": "0"}
    rates = {"beats": "0.02", "worse": "0.01", "no_better": "0.5", "undecided": "0.4"}
    return world | rates | {"apart": str(apart), "runs": "100", "width": "1.25"} | more


ROWS = [
    row("mAP", 16, 0.04),
    row("mAP", 8, 0.02, beats="0"),
    row("mAP", 12, 0.3, items="2", runs="300"),  # another world
    row("mAP", 8, 0.9, gain="0.2"),  # not equal
]


def test_a_line_goes_by_the_number_of_groups_in_the_plain_world():
    head, _, line = verdict_figure.table(ROWS).splitlines()
    assert head.startswith("| score, at 8 / 16 groups | told apart")
    assert line == ("| mAP | 2 / 4 % | 0 / 2 % | 1.25 / 1.25 | 50 / 50 % | 40 / 40 % |")


def test_the_summary_weighs_rows_of_equal_encoders_by_their_runs():
    said = verdict_figure.summary(ROWS)
    assert "In all 3 rows together (500 simulated evaluations" in said
    assert "told apart in 19.2%" in said  # (4 + 2 + 90) / 500
    assert "30% of 300: mAP, 12 groups of 2 items" in said


def test_a_picture_is_drawn(tmp_path):
    picture = tmp_path / "verdicts.png"
    verdict_figure.draw(ROWS, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_planted_differences_are_drawn_by_groups_and_size(tmp_path):
    rows = [
        *ROWS,
        row("mAP", 8, 0.2, gain="0.1", gap="0.02"),
        row("mAP", 8, 0.1, gain="0.05", gap="0.01"),
    ]
    rows[3]["gap"] = "0.05"
    found = verdict_figure.planted(rows, "mAP")
    assert [r["gap"] for r in found[8]] == ["0.01", "0.02", "0.05"]
    assert list(found) == [8]
    picture = tmp_path / "planted.png"
    verdict_figure.draw_planted(rows, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
