"""What a command says of its progress."""

import pytest

from zoo._cli import terminal


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def told(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_log_says_how_long_it_takes_then_where_it_is_each_minute(clock, capsys):
    with terminal.progress("embedding cells") as tell:
        tell("embedding cells with a", 0, 300)
        assert told(capsys) == []
        clock[0] += 4
        tell("embedding cells", 4, 300)
        assert told(capsys) == ["embedding cells: 4 of 300, about 5 min left"]
        clock[0] += 50
        tell("embedding cells", 68, 300)
        assert told(capsys) == []
        clock[0] += 50
        tell("embedding cells", 132, 300)
        assert told(capsys) == ["embedding cells: 132 of 300, about 2 min left"]


def test_short_steps_are_not_mentioned_and_new_ones_start_again(clock, capsys):
    with terminal.progress("embedding cells") as tell:
        tell("embedding cells", 0, 4)
        clock[0] += 8
        tell("embedding cells", 2, 4)
        tell("embedding cells", 4, 4)
        assert told(capsys) == []
        tell("readouts", 0, 9)
        clock[0] += 3
        tell("readouts", 1, 9)
        assert told(capsys) == ["readouts: 1 of 9, about 25 s left"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "5 s"), (62, "60 s"), (100, "2 min"), (7200, "2.0 h")]
)
def test_durations_are_as_exact_as_estimates(seconds, words):
    assert terminal.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.01, "0.1 s"),
        (0.13, "0.1 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (89, "89 s"),
        (300, "5 min"),
    ],
)
def test_measured_times_are_not_rounded_as_estimates_are(seconds, words):
    assert terminal.taken(seconds) == words
