"""Place the channels of an image into the slots of an encoder, by the names of their stains."""

from collections.abc import Mapping, Sequence

from zoo.registry import EncoderSpec, ImageError, suggest

from .._images.stains import meanings, plain


def slots_of(
    spec: EncoderSpec, stains: Sequence[str], mapping: Mapping[str, str], item: str
) -> list[int]:
    """Return the slot of each channel, from 0.

    A stain goes where `mapping` or the record's synonyms say, else to the slot of its name, else to
    the one slot that shows the same by the table of synonyms.

    Parameters
    ----------
    spec
        Record with slots.
    stains
        Names of the channels of an image.
    mapping
        Stain → slot, as a user gives it.
    item
        Name of the image in messages.

    Raises
    ------
    ImageError
        For a stain that has no slot or could have several, and for a slot filled twice.
    """
    chosen = {plain(stain): slot for stain, slot in mapping.items()}
    found = [_slot(spec, stain, chosen, item) for stain in stains]
    for place, slot in enumerate(found):
        first = found.index(slot)
        if first < place:
            raise ImageError(
                f"{item}: {stains[first]!r} and {stains[place]!r} both belong into the slot "
                f"{spec.slots[slot]!r} of {spec.name}: leave one of the channels out, or say where "
                f"one goes with --map {stains[place]}=SLOT"
            )
    return found


def check_mapping(spec: EncoderSpec, mapping: Mapping[str, str]) -> dict[str, str]:
    """Return a mapping with the slots as the record writes them.

    Raises
    ------
    ValueError
        When the encoder has no slots, or a mapping names none of them.
    """
    if mapping and not spec.slots:
        raise ValueError(f"{spec.name} has no named channels, so a mapping of stains has no effect")
    known = {plain(slot): slot for slot in spec.slots}
    for stain, slot in mapping.items():
        if not stain or plain(slot) not in known:
            raise ValueError(
                f"{stain}={slot} names no channel of {spec.name}: it has {', '.join(spec.slots)}."
                f"{suggest(slot, spec.slots)}"
            )
    return {stain: known[plain(slot)] for stain, slot in mapping.items()}


def _slot(spec: EncoderSpec, stain: str, chosen: Mapping[str, str], item: str) -> int:
    if plain(stain) in chosen:
        return spec.slots.index(chosen[plain(stain)])
    own = {plain(slot): slot for slot in spec.slots}
    own |= {plain(word): slot for word, slot in spec.stain_synonyms.items()}
    if plain(stain) in own:
        return spec.slots.index(own[plain(stain)])
    shown = meanings(stain)
    fitting = [k for k, slot in enumerate(spec.slots) if shown & meanings(slot)]
    if len(fitting) == 1:
        return fitting[0]
    takes = f"{spec.name}, which takes {', '.join(spec.slots)}"
    takes += f": say where it goes with --map {stain}=SLOT"
    if not fitting:
        raise ImageError(f"{item}: the stain {stain!r} has no place in {takes}, or leave it out")
    several = " or ".join(repr(spec.slots[k]) for k in fitting)
    raise ImageError(f"{item}: the stain {stain!r} could be {several} of {takes}")
