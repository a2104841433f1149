"""Run all checks over an encoder, at once or as one test for each."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from zoo.registry import EncoderSpec

from .._encoders.contract import Encoder
from . import (  # noqa: F401
    _batches,
    _channels,
    _effects,
    _inputs,
    _loading,
    _numbers,
    _outputs,
    _precision,
    _processes,
    _record,
)
from ._promise import Check, outcome
from ._subject import Subject

Tested = str | EncoderSpec | Encoder
NAMES = (
    *("record", "listing", "shape", "finite", "repeatable", "images", "precision", "extremes"),
    *("range", "channels-used", "stains", "order", "batch", "pixels", "sizes", "preprocessing"),
    *("channels", "tokens", "layer", "attention", "inputs", "state", "silent", "network"),
    *("loading", "seed", "weights", "reference", "half", "device", "gradients", "pickling"),
    *("processes", "threads"),
)
"""All checks, in the order in which they are told."""


def check_encoder(
    encoder: Tested,
    *,
    channels: tuple[int, ...] | None = None,
    stains: tuple[str, ...] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> list[Check]:
    """Check that an encoder fulfils the contract of `zoo.Encoder`, and raise if it does not.

    Prints how many checks ran. An exception in one check does not stop the others. A check that
    another one needs is run first, and where it fails the other is skipped, so that each fault is
    named once.

    Parameters
    ----------
    encoder
        A name, a record, or a loaded encoder. By name all checks can run; an encoder made by hand
        is loaded again only if its record's builder makes it.
    channels
        Channel counts to try; by default those that the record allows, some of very many.
    stains
        Names of channels to give with all images, for encoders that need them.
    expected_failures
        Names of checks that are known to fail, each with the reason. One that passes all the same
        is a failure.

    Returns
    -------
    list of Check
        Every check that was run or skipped.

    Raises
    ------
    AssertionError
        Listing all checks that failed.

    Examples
    --------
    >>> checks = zoo.testing.check_encoder("pixel-statistics-mean")
    pixel-statistics-mean: ... checks passed, ... skipped
    >>> checks[0].name, checks[0].promise
    ('record', 'the record and the provenance are plain values, and terms are stated')
    """
    expected = _known(expected_failures)
    subject = Subject(encoder, channels=channels, stains=stains)
    found: dict[str, Check] = {}
    checks = [_judged(outcome(name, subject, found), expected) for name in NAMES]
    broken = [f"{c.name}: {c.promise}: {c.problem}" for c in checks if c.failed]
    name = subject.spec.name
    if broken:
        raise AssertionError(f"{name} fails {len(broken)} of {len(checks)} checks:\n"
                             + "\n".join(broken))  # fmt: skip
    skipped = sum(c.skipped is not None for c in checks)
    known = sum(c.expected is not None for c in checks)
    more = f", {known} failed as expected" if known else ""
    passed = len(checks) - skipped - known
    print(f"{name}: {passed} checks passed, {skipped} skipped{more}")  # noqa: T201
    return checks


def encoder_checks(
    *encoders: Tested,
    channels: tuple[int, ...] | None = None,
    stains: tuple[str, ...] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Any:
    """Make one test of pytest for each check and encoder.

    Parameters
    ----------
    *encoders
        Names, records or loaded encoders; named ones are loaded by the first test.
    channels, stains, expected_failures
        As for `check_encoder`.

    Returns
    -------
    pytest.MarkDecorator
        For a test whose one argument is called `check`; the test calls it.

    Examples
    --------
    >>> @zoo.testing.encoder_checks("brightness", expected_failures={"half": "uses a histogram"})
    ... def test_promises(check):
    ...     check()
    >>> len(test_promises.pytestmark)
    1
    """
    import pytest

    expected = _known(expected_failures)
    cases = [
        pytest.param(run, id=f"{_name(encoder)}-{name}")
        for encoder in encoders
        for name, run in _tests(encoder, channels, stains, expected).items()
    ]
    return pytest.mark.parametrize("check", cases)


def _tests(
    encoder: Tested,
    channels: tuple[int, ...] | None,
    stains: tuple[str, ...] | None,
    expected: Mapping[str, str],
) -> dict[str, Callable[[], None]]:
    found: dict[str, Check] = {}
    subjects: list[Subject] = []

    def run(name: str) -> None:
        import pytest

        if not subjects:
            subjects.append(Subject(encoder, channels=channels, stains=stains))
        check = _judged(outcome(name, subjects[0], found), expected)
        if check.skipped is not None:
            pytest.skip(check.skipped)
        if check.expected is not None:
            pytest.xfail(f"{check.expected}: {check.problem}")
        assert check.problem is None, str(check)

    return {name: partial(run, name) for name in NAMES}


def _name(encoder: Tested) -> str:
    return encoder if isinstance(encoder, str) else encoder.name


def _known(expected: Mapping[str, str] | None) -> Mapping[str, str]:
    unknown = sorted(set(expected or {}) - set(NAMES))
    if unknown:
        raise ValueError(
            f"expected_failures names {unknown[0]!r}, but the checks are {', '.join(NAMES)}"
        )
    return expected or {}


def _judged(check: Check, expected: Mapping[str, str]) -> Check:
    """Mark a failure that was expected; one that was expected and did not come is a failure."""
    reason = expected.get(check.name)
    if reason is None or check.skipped is not None:
        return check
    if check.problem is not None:
        return replace(check, expected=reason)
    return replace(check, problem=f"it passes, but was expected to fail ({reason}): remove that")
