"""One promise of an encoder, the function that checks it, and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass

from ._subject import Subject, one_thread


class BrokenPromiseError(AssertionError):
    """A check found a problem; its text is the problem."""


class NotCheckedError(Exception):
    """A check does not apply to this encoder; its text is the reason."""


@dataclass(frozen=True)
class Check:
    """What one check found.

    Parameters
    ----------
    name
        One word, as `expected_failures` takes it.
    promise
        What was checked, in one sentence.
    problem
        What is wrong, or None.
    skipped
        Why the check did not run, or None.
    expected
        Why a failure was expected, or None.
    """

    name: str
    promise: str
    problem: str | None = None
    skipped: str | None = None
    expected: str | None = None

    @property
    def failed(self) -> bool:
        """Whether there is a problem that was not expected."""
        return self.problem is not None and self.expected is None

    def __str__(self) -> str:
        state = self.problem or (f"skipped, {self.skipped}" if self.skipped else "ok")
        return f"{self.name}: {self.promise}: {state}"


@dataclass(frozen=True)
class Promise:
    """A check: its name, what it checks, and the checks without which it would say nothing."""

    name: str
    text: str
    needs: tuple[str, ...]
    run: Callable[[Subject], None]


PROMISES: dict[str, Promise] = {}


def promise(
    name: str, text: str, *, needs: tuple[str, ...] = ()
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Make a function the check of a promise.

    The function raises `BrokenPromiseError` or `NotCheckedError`; any other exception is a problem
    too. `needs` are checked first: where one of them fails, this one is skipped, so that each
    fault is reported once.
    """

    def register(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        PROMISES[name] = Promise(name, text, needs, run)
        return run

    return register


def outcome(name: str, subject: Subject, found: dict[str, Check]) -> Check:
    """Check one promise, and first those that it needs; `found` keeps what is known."""
    if name not in found:
        found[name] = _checked(PROMISES[name], subject, found)
    return found[name]


def _checked(asked: Promise, subject: Subject, found: dict[str, Check]) -> Check:
    for other in asked.needs:
        if _fails(outcome(other, subject, found), found):
            reason = f"it needs the check {other!r}, which fails"
            return Check(asked.name, asked.text, skipped=reason)
    try:
        with one_thread():
            asked.run(subject)
    except NotCheckedError as reason:
        return Check(asked.name, asked.text, skipped=str(reason))
    except BrokenPromiseError as problem:
        return Check(asked.name, asked.text, str(problem))
    except Exception as error:  # whatever an encoder raises
        return Check(asked.name, asked.text, f"raises {type(error).__name__}: {error}")
    return Check(asked.name, asked.text)


def _fails(check: Check, found: dict[str, Check]) -> bool:
    """Whether a check fails, or was skipped because one that it needs does."""
    if check.skipped is None:
        return check.problem is not None
    return any(_fails(found[n], found) for n in PROMISES[check.name].needs if n in found)
