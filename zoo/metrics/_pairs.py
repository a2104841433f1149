"""Whom a profile should find, and among whom: three definitions of replicate retrieval."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pairs:
    """Whom a profile should find and among whom, as names of columns of a table.

    Positives have the label of the query, negatives have another. A profile that is neither is left
    out of the ranking.

    Parameters
    ----------
    label
        What replicates share.
    pos_diffby
        A positive differs from the query in each of these.
    neg_diffby, neg_sameby
        A negative differs from the query in each of the first, and shares each of the second.
    controls
        Boolean column; only where it is true can a profile be a negative.
    beside_positives
        Negatives have a value of this column that some positive of the query has.
    """

    label: str
    pos_diffby: tuple[str, ...] = ()
    neg_diffby: tuple[str, ...] = ()
    neg_sameby: tuple[str, ...] = ()
    controls: str | None = None
    beside_positives: str | None = None


def any_negatives(label: str, *, apart: tuple[str, ...] = ()) -> Pairs:
    """Seek replicates among all profiles of other labels.

    A positive differs in each column of `apart`, such as the position on a plate; without them,
    what replicates share beside biology helps to find them.
    """
    return Pairs(label, pos_diffby=apart)


def control_negatives(
    label: str, batch: str, controls: str, *, apart: tuple[str, ...] = ()
) -> Pairs:
    """Seek replicates among the controls of the query's own batch: whether it is active at all.

    Controls have no negatives unless their batch has controls of another label.
    """
    return Pairs(label, pos_diffby=apart, neg_sameby=(batch,), controls=controls)


def across_batches(label: str, batch: str, *, apart: tuple[str, ...] = ()) -> Pairs:
    """Seek replicates in other batches, among profiles of other labels in those same batches.

    Nothing of the query's own batch is ranked and no batch without a positive, so that likeness of
    batches ranks positives and negatives alike. Labels should have a like share of the batches that
    they are in: where a batch with more replicates is more alike, that still helps.
    """
    return Pairs(
        label,
        pos_diffby=(batch, *apart),
        neg_diffby=(batch,),
        beside_positives=batch,
    )
