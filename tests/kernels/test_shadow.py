"""The folder ``kernels/`` does not stand in the way of the distribution of that name."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_at_root(code, **environ):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_real_distribution_is_found_from_the_root(tmp_path):
    package = tmp_path / "kernels"
    package.mkdir()
    (package / "__init__.py").write_text("from .layer import answer\n")
    (package / "layer.py").write_text("answer = 42\n")
    code = "import kernels; assert kernels.answer == 42; import kernels.layer; print('fine')"
    done = run_at_root(code, PYTHONPATH=str(tmp_path))
    assert done.stdout == "fine\n", done.stderr


def test_without_it_the_import_fails_as_if_the_folder_were_not_there():
    done = run_at_root(
        "try:\n import kernels\nexcept ImportError as e:\n print(e.name, '|', e)\n"
        "import sys; assert 'kernels' not in sys.modules and 'torch' not in sys.modules"
    )
    assert done.stdout.startswith("kernels | "), done.stderr
    assert "not installed" in done.stdout


def test_the_installed_name_works_from_the_root():
    done = run_at_root("import zoo.kernels; print(zoo.kernels.BACKENDS)")
    assert "sdpa" in done.stdout, done.stderr
