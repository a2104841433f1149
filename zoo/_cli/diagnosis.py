"""The command that looks at the machine: doctor."""

from .group import main
from .terminal import add_row, console, table


@main.command()
def doctor() -> None:
    """Say what works on this machine, and how to fix what does not."""
    from .doctor import examine

    found = table("", "part", "state")
    checks = examine()
    for check in checks:
        mark = {"ok": "✓", "note": "–", "broken": "✗"}[check.state]
        fix = f"\n→ {check.fix}" if check.fix else ""
        add_row(found, mark, check.part, check.text + fix)
    console().print(found)
    if any(check.state == "broken" for check in checks):
        raise SystemExit(1)
