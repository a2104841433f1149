"""Make the environment of an encoder with venv and pip, list those that there are, remove them."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.registry import Environment, MissingExtraError, PluginError
from zoo.registry.cache_folder import cache_folder

from . import worker

_MARK = "environment.json"


@dataclass(frozen=True)
class Made:
    """An environment that is whole.

    Parameters
    ----------
    folder
        Its folder.
    requirements
        What was asked for.
    python
        Version of its interpreter.
    packages
        Version of each package, as pip resolved it.
    sha256
        Hash of all files of all packages.
    """

    folder: Path
    requirements: tuple[str, ...]
    python: str
    packages: dict[str, str]
    sha256: str

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return interpreter(self.folder)


def environments_folder() -> Path:
    """Folder that holds all environments."""
    return cache_folder() / "environments"


def folder_of(environment: Environment) -> Path:
    """Folder of an environment, made or not."""
    return environments_folder() / environment.key[:16]


def interpreter(folder: Path) -> Path:
    """Return the Python of an environment."""
    return folder / "bin" / "python"


def find(folder: Path) -> Made | None:
    """Return the environment in a folder; None if there is none, or one that is half made."""
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        found = Made(folder, tuple(mark["requirements"]), mark["python"], mark["packages"],
                     mark["sha256"])  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.interpreter.exists() else None


def made_for(name: str, environment: Environment) -> Made:
    """Return the environment of an encoder.

    Raises
    ------
    MissingExtraError
        When it is not made yet, or only half; it names the command that makes it.
    """
    folder = folder_of(environment)
    if (found := find(folder)) is not None:
        return found
    state = "is only half made, or just being made" if folder.exists() else "is not made yet"
    raise MissingExtraError(
        f"{name!r} runs in an environment of its own, which {state}: run 'zoo env create {name}'"
    )


def create(
    environment: Environment, *, python: str | None = None, force: bool = False, quiet: bool = True
) -> tuple[Made, bool]:
    """Make an environment; returns it, and whether it was made now.

    Parameters
    ----------
    environment
        Its requirements.
    python
        Interpreter to make it with; by default that of this process.
    force
        Whether to make it again if it is there.
    quiet
        Whether to leave out what pip says on its way.

    Raises
    ------
    PluginError
        With pip's reason, when the requirements cannot be installed. Nothing is left.
    """
    if sys.platform == "win32":
        raise PluginError("environments of encoders need Linux or macOS")
    folder = folder_of(environment)
    with _locked(folder):
        if not force and (found := find(folder)) is not None:
            return found, False
        (folder / _MARK).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            return _make(folder, environment, python or sys.executable, quiet), True
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def remove(folder: Path) -> None:
    """Remove an environment, its mark first, so that it is never taken for a whole one."""
    with _locked(folder):
        (folder / _MARK).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(folder.name + ".lock").unlink(missing_ok=True)


def _make(folder: Path, environment: Environment, python: str, quiet: bool) -> Made:
    lines = environment.lines
    _run([python, "-I", "-m", "venv", str(folder)], "cannot be made with venv")
    own = folder / "requirements.txt"
    own.write_text("\n".join(environment.requirements) + "\n", encoding="utf-8")
    files = [own, *([environment.file] if environment.file is not None else [])]
    asked = [part for file in files for part in ("-r", str(file.absolute()))]
    flags = ["--disable-pip-version-check", "--no-input"]
    # Isolated, so that packages on PYTHONPATH are not taken for installed ones.
    pip = [str(interpreter(folder)), "-I", "-m", "pip", "install", *flags, *asked]
    _run(pip, f"cannot be made: pip cannot install {environment}", quiet=quiet, folder=folder)
    mark = {"requirements": list(lines), **_described(folder)}
    part = folder / f".{_MARK}"
    part.write_text(json.dumps(mark, indent=1), encoding="utf-8")
    part.replace(folder / _MARK)
    found = find(folder)
    assert found is not None  # it has just been written
    return found


def _described(folder: Path) -> dict[str, object]:
    """Ask the environment for its packages, and whether it has NumPy."""
    start = [str(interpreter(folder)), "-I"]
    _run([*start, "-c", "import numpy"], "has no NumPy that can be imported: add it to its "
         "requirements")  # fmt: skip
    said = _run([*start, worker.__file__, "describe"], "cannot tell its packages")
    return json.loads(said)  # type: ignore[no-any-return]


def _run(command: list[str], fault: str, *, quiet: bool = True, folder: Path | None = None) -> str:
    """Run a command; what it writes goes to our standard error unless `quiet`."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else sys.stderr.fileno(),
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            cwd=folder,
        )
    except OSError as error:
        raise PluginError(f"the environment {fault}: {error}") from error
    if done.returncode:
        raise PluginError(f"the environment {fault}: {_reason(done.stderr, done.stdout)}")
    return done.stdout or ""


def _reason(errors: str, output: str | None) -> str:
    """Return what a command says went wrong, in one line."""
    lines = [line.strip() for line in (errors.strip() or output or "").splitlines()]
    told = [x.removeprefix("ERROR:").strip() for x in lines if x.startswith("ERROR:")]
    # pip repeats the reason in a longer line before it; both are short.
    return "; ".join(told[-3:]) or (lines or ["it does not say why"])[-1]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time make or remove an environment; the lock dies with its holder."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
