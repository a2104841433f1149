"""Positive and negative pairs for replicate retrieval, with three common definitions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pairs:
    """Which profiles are the positives and negatives of a query, by the columns of a table.

    Positives have the label of the query, negatives have another. A profile that is neither is left
    out of the ranking. The fields that copairs has too carry its names.

    Parameters
    ----------
    label
        Column that replicates share.
    pos_diffby
        Columns in each of which a positive differs from the query.
    neg_diffby, neg_sameby
        Columns in each of which a negative differs from the query, and has the same value.
    controls
        Boolean column; only where it is true can a profile be a negative.
    neg_sameby_positives
        Column of which a negative has the same value as some positive of the query.

    Examples
    --------
    >>> from zoo.metrics import Pairs
    >>> Pairs("compound", pos_diffby=("well",), neg_sameby=("plate",)).pos_diffby
    ('well',)
    """

    label: str
    pos_diffby: tuple[str, ...] = ()
    neg_diffby: tuple[str, ...] = ()
    neg_sameby: tuple[str, ...] = ()
    controls: str | None = None
    neg_sameby_positives: str | None = None


def any_negatives(label: str, *, pos_diffby: tuple[str, ...] = ()) -> Pairs:
    """Rank replicates among all profiles of other labels.

    Parameters
    ----------
    label
        Column that replicates share.
    pos_diffby
        Columns in which positives differ from the query, such as the well position. Without them,
        anything else that replicates share helps to retrieve them.

    Returns
    -------
    Pairs

    Examples
    --------
    >>> from zoo.metrics import any_negatives
    >>> any_negatives("compound", pos_diffby=("well",)).pos_diffby
    ('well',)
    """
    return Pairs(label, pos_diffby=pos_diffby)


def control_negatives(
    label: str, batch: str, controls: str, *, pos_diffby: tuple[str, ...] = ()
) -> Pairs:
    """Rank replicates among the controls of the query's own batch, a test of activity.

    Controls themselves have no negatives, unless their batch has controls of another label.

    Parameters
    ----------
    label, batch
        Columns of what replicates share, and of the batch.
    controls
        Boolean column, true for controls.
    pos_diffby
        Columns in which positives differ from the query.

    Returns
    -------
    Pairs

    Examples
    --------
    >>> from zoo.metrics import control_negatives
    >>> control_negatives("compound", "plate", "is_dmso").neg_sameby
    ('plate',)
    """
    return Pairs(label, pos_diffby=pos_diffby, neg_sameby=(batch,), controls=controls)


def across_batches(label: str, batch: str, *, pos_diffby: tuple[str, ...] = ()) -> Pairs:
    """Rank replicates from other batches among profiles of other labels in those same batches.

    Nothing of the query's own batch is ranked, and no batch without a positive, so that a batch
    effect moves positives and negatives equally. Labels should have similar shares of the batches
    that they occur in: a batch with more replicates that is also more similar still helps.

    Parameters
    ----------
    label, batch
        Columns of what replicates share, and of the batch.
    pos_diffby
        Further columns in which positives differ from the query.

    Returns
    -------
    Pairs

    Examples
    --------
    >>> from zoo.metrics import across_batches
    >>> across_batches("compound", "plate").neg_diffby
    ('plate',)
    """
    return Pairs(
        label,
        pos_diffby=(batch, *pos_diffby),
        neg_diffby=(batch,),
        neg_sameby_positives=batch,
    )
