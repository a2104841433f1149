"""Words that must not come back: archaic or inverted phrases that have a plain replacement."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("zoo", "plugins", "registry", "kernels")
SUFFIXES = {".py", ".pyi", ".md", ".j2", ".js", ".css"}

# Phrase, where spaces also stand for line breaks, and what to write instead.
INSTEAD = {
    r"mend(s|ed|ing)?": "fix",
    r"(to|can|cannot|could|could not) be had": "available, not available",
    r"lest": "so that … not",
    r"in (any )?company": "with other images in the batch",
    r"fellows?": "files of the same field, items of the same group",
    r"whom": "name the encoder, the pairs or the items",
    r"nobody|nobody's": "no encoder, no control",
    r"may be said( of)?": "verdict, conclusion",
    r"(is|are|be) asked of": "the tasks of",
    r"confounds(?!\")": "confounders",
    r"(shuffled|shuffle) null": "permutation null",
    r"what(ever)? is fitted": "models, all models",
    r"know(s|ing)? nothing of": "does not depend on, is independent of",
    r"what lies (around|on|beside|between)": "name the thing",
    r"(as|where) (it|they) lies?": "in place, without a copy",
    r"so \S+ says? nothing": "has no effect",
    r"by luck": "by chance",
    r"anew": "again",
    r"the very": "the same, exactly the",
    r"vouch(es|ed)?( for)?": "verified by",
    r"blown up": "upsampled, amplified",
    r"misshapen": "of the wrong shape",
    r"ever after": "from then on",
    r"gap to (that|the) control": "difference to control",
    r"items in groups": "n (groups)",
    r"thereof|whereof|wherein|thereby|hitherto|upon": "plain prepositions",
    r"one's own": "your own",
}
_GAP = r"(?:[\s\"#*]|f(?=\"))+"
PATTERNS = {
    re.compile(rf"(?<![\w-])(?:{phrase.replace(' ', _GAP)})(?![\w-])", re.IGNORECASE): instead
    for phrase, instead in INSTEAD.items()
}


def files():
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md"))
    yield from sorted((ROOT / "docs").rglob("*.md"))
    for folder in FOLDERS:
        yield from sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in SUFFIXES)


def find(text):
    """Line number, words and replacement of every phrase in a text."""
    found = [
        (text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), instead)
        for pattern, instead in PATTERNS.items()
        for match in pattern.finditer(text)
    ]
    return sorted(found)


def test_no_archaic_words():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {words!r}, write: {instead}"
        for path in files()
        for line, words, instead in find(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"{len(found)} places\n" + "\n".join(found)


def test_all_text_is_read():
    read = {path.relative_to(ROOT).as_posix() for path in files()}
    wanted = ("README.md", "kernels/README.md", "zoo/_report/assets/page.html.j2")
    assert {*wanted, "registry/specs.py", "plugins/controls/specs.py"} <= read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nand Mend it", [(2, "Mend", "fix")]),
        ("# is not to\n# be had", [(1, "to # be had", "available, not available")]),
        ('f"what is "\n    f"fitted"', [(1, 'what is " f"fitted', "models, all models")]),
        ("recommend, amended = lesty, 'confounds\"'", []),
    ],
)
def test_planted_words_are_found(text, expected):
    assert find(text) == expected
