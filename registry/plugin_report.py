"""What is known of a plugin after it was loaded, or set aside."""

from dataclasses import dataclass

from .designs import DatasetSpec
from .specs import EncoderFamily, EncoderSpec

Record = EncoderSpec | EncoderFamily | DatasetSpec


@dataclass
class PluginReport:
    """Result of loading one plugin.

    Parameters
    ----------
    name
        Module name of a built-in plugin, entry-point name of a third-party plugin.
    distribution, version
        The distribution that contains it.
    records
        What it offers; empty if it was set aside.
    cause
        Why it was set aside, or None.
    fix
        What to do about it, unless the cause says that; empty if it was not set aside.
    offered
        Names that a plugin that was set aside would have offered, for error messages.
    seconds, imported_torch
        Cost of listing it.
    module
        Module that was imported.
    printed
        What it printed when it was imported, which is shown nowhere else.
    """

    name: str
    distribution: str
    version: str
    records: tuple[Record, ...] = ()
    cause: str | None = None
    offered: tuple[str, ...] = ()
    seconds: float = 0.0
    imported_torch: bool = False
    module: str = ""
    printed: str = ""
    fix: str = ""

    def __str__(self) -> str:
        """Name of the plugin in messages."""
        return f"{self.name} ({self.distribution} {self.version})"


def record_key(record: Record) -> tuple[str, str]:
    """Namespace and name: encoders and families share a namespace, datasets have their own."""
    match record:
        case EncoderFamily():
            return "encoder", f"{record.scheme}:"
        case DatasetSpec():
            return "dataset", record.name
        case _:
            return "encoder", record.name
