"""Cards of profiles, tissue and mixed sets that others publish."""

from collections.abc import Iterable

import zoo


@zoo.hookimpl
def zoo_datasets() -> Iterable[zoo.DatasetSpec]:
    """Give their records."""
    return ()
