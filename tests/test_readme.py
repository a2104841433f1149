"""README says what the registry says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_table_of_encoders_is_up_to_date():
    command = [sys.executable, "-P", ROOT / "docs" / "make_readme.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_of_the_readme_exists():
    from zoo._cli import main

    text = (ROOT / "README.md").read_text()
    used = {line.split()[1] for line in text.splitlines() if line.startswith("zoo ")}
    assert used
    assert used <= set(main.commands)
