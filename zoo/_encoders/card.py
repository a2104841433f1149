"""An encoder as a notebook shows it."""

from html import escape

from zoo.registry import EncoderSpec

from .terms import access_page


def card(spec: EncoderSpec, where: str, weights: str | None) -> str:
    """Return a small table: what it is, what it takes and gives, and where it is."""
    low, high = spec.channels
    rows: dict[str, object] = {
        "": spec.summary,
        "channels": f"{low} or more" if high is None else f"{low} to {high}",
        "embedding": spec.embedding_size or "depends on the image",
        "device": where,
        "weights": weights or "none",
        "licence": spec.licence,
    }
    if asked := access_page(spec):
        rows["access"] = f"gated: ask at {asked}"
    lines = (f"<tr><th>{k}</th><td>{escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table><caption>{escape(spec.name)}</caption>{''.join(lines)}</table>"
