"""Citations and terms of encoders and datasets, as BibTeX."""

import re
from collections.abc import Sequence

from zoo.registry import DatasetSpec, EncoderSpec, registry

_DOI = re.compile(r"doi:\s*(10\.\d{4,}/\S+?)(?=[.,;)]?(?:\s|$))")
_ARXIV = re.compile(r"arXiv:?\s*(\d{4}\.\d{4,5})")
_YEAR = re.compile(r"\b(1[89]\d\d|20\d\d)\b")
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"})


def cite(names: Sequence[str]) -> str:
    """Return BibTeX of encoders and datasets, with their terms as comments.

    A record that cites several works gives one entry for each; equal works are given once.

    Raises
    ------
    UnknownNameError
        With near names.
    """
    lines: list[str] = []
    keys: dict[str, str] = {}
    for name in names:
        record = _record(name)
        lines.append(f"% {record.name}: {_terms(record)}")
        works = [work.strip() for work in record.citation.split(";") if work.strip()]
        if not works:
            lines.append("% the record names no work to cite")
        for work in works:
            if work in keys:
                lines.append(f"% see {keys[work]}")
                continue
            keys[work] = _key(work, set(keys.values()))
            lines.append(_entry(keys[work], work))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _record(name: str) -> EncoderSpec | DatasetSpec:
    found = registry()
    return found.datasets[name] if name in found.datasets else found.encoder(name)


def _terms(record: EncoderSpec | DatasetSpec) -> str:
    return f"licence {record.licence}" if record.licence != "not stated" else "licence not stated"


def _key(work: str, taken: set[str]) -> str:
    author = re.match(r"[^\W\d_]+", work)
    year = _YEAR.findall(_ARXIV.sub("", _DOI.sub("", work)))
    key = f"{author[0].lower() if author else 'work'}{year[-1] if year else ''}"
    candidates = (key, *(f"{key}{letter}" for letter in "bcdefghijklmnopqrstuvwxyz"))
    return next(c for c in candidates if c not in taken)


def _entry(key: str, work: str) -> str:
    fields = {"note": f"{{{work.translate(_SPECIAL)}}}"}
    year = _YEAR.findall(_ARXIV.sub("", _DOI.sub("", work)))
    if year:
        fields["year"] = f"{{{year[-1]}}}"
    if doi := _DOI.search(work):
        fields["doi"] = f"{{{doi[1]}}}"
    if arxiv := _ARXIV.search(work):
        fields |= {"eprint": f"{{{arxiv[1]}}}", "archiveprefix": "{arXiv}"}
    inner = ",\n".join(f"  {field} = {value}" for field, value in fields.items())
    return f"@misc{{{key},\n{inner}\n}}"
