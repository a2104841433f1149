"""Which row of a packed batch holds which patch of which channel."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat

import torch
from torch import Tensor

from ._ragged_plan import RaggedPlan, sent
from ._recording import refuse_recording

NO_PLANE = -1
"""First row of a missing plane."""


@dataclass(eq=False)
class TokenLayout:
    """Rows of the tokens of a ragged batch: for each image a CLS row, then its planes' patches.

    Make one with `from_counts`, once per batch. B images, N planes, P patches to a plane.

    Parameters
    ----------
    plan
        The sequences, for attention.
    planes
        First row of each plane, and its row of the channel embedding: `(N, 2)` int32. A first row
        of -1 marks a missing plane.
    first_rows
        Row of each image's CLS token, `(B,)` int64.
    patches
        Patches to a plane, P.
    images, channels
        Images and planes of the batch; there may be room for more.

    Examples
    --------
    >>> from zoo.kernels import TokenLayout
    >>> layout = TokenLayout.from_counts([1, 2], [0, 0, 1], patches=4)
    >>> layout.plan.lengths, layout.planes.tolist()
    ((5, 9), [[1, 0], [6, 0], [10, 1]])
    """

    plan: RaggedPlan
    planes: Tensor
    first_rows: Tensor
    patches: int
    images: int
    channels: int

    @classmethod
    def from_counts(
        cls,
        counts: Sequence[int],
        places: Sequence[int],
        patches: int,
        device: torch.device | str = "cpu",
        *,
        room: int | None = None,
    ) -> "TokenLayout":
        """Make the layout of images with these channel counts, in this order.

        Parameters
        ----------
        counts
            Channels of each image, 1 or more.
        places
            Row of the channel embedding for each plane, `(sum of counts,)`.
        patches
            Patches to a plane.
        device
            Device of the rows.
        room
            Capacity in planes, each of which may be an image: tensors of all layouts with the same
            capacity have the same shapes, as CUDA graphs need.

        Raises
        ------
        ValueError
            For inconsistent counts, places and room.

        Examples
        --------
        >>> from zoo.kernels import TokenLayout
        >>> TokenLayout.from_counts([1, 2], [0, 0, 1], patches=4).first_rows.tolist()
        [0, 5]
        """
        counts = list(map(int, counts))
        total = sum(counts)
        if min(counts, default=1) < 1:
            raise ValueError(f"an image has {min(counts)} channels, but needs at least one")
        if len(places) != total:
            raise ValueError(f"there are {len(places)} places for {total} planes")
        if room is not None and total > room:
            raise ValueError(f"{total} planes do not fit into a room for {room}")
        device = torch.device(device)
        lengths = [1 + c * patches for c in counts]
        if room is None:
            plan = RaggedPlan.from_lengths(lengths, device)
        else:
            plan = RaggedPlan.from_lengths(lengths, device, rows=room * (patches + 1), images=room)
        starts = [0, *accumulate(lengths[:-1])] if lengths else []
        # Before a plane lie all planes that come before it, and CLS rows up to that of its image.
        above = chain.from_iterable(map(repeat, range(1, len(counts) + 1), counts))
        table = [0] * (2 * total)
        table[::2] = [plane * patches + rows for plane, rows in enumerate(above)]
        table[1::2] = map(int, places)
        if room is not None:
            table += [NO_PLANE, 0] * (room - total)
            starts += [0] * (room - len(counts))
        both = sent(torch.frombuffer(array("i", table + starts), dtype=torch.int32), device)
        planes, firsts = both.split([len(table), len(starts)])
        return cls(plan, planes.view(-1, 2), firsts.long(), patches, len(counts), total)

    @property
    def rows(self) -> int:
        """Rows of the batch, including unused ones."""
        return self.plan.total

    def patch_rows(self) -> Tensor:
        """Return the row of each patch of each plane of the batch, `(N, P)` int64.

        Raises `RuntimeError` while a CUDA graph is recorded, for N is that of this batch.
        """
        refuse_recording("TokenLayout.patch_rows")
        return self.rows_of_room()[1][: self.channels]

    def rows_of_room(self) -> tuple[Tensor, Tensor]:
        """Return the row of each CLS token and of each patch, for all that there is room for.

        Those of missing images and planes are `rows`, one behind the last. No number of the batch
        is read, so a CUDA graph can record this.

        Returns
        -------
        tuple of Tensor
            Int64, of the shapes of `first_rows` and `(N, P)`.
        """
        first, others = self.first_rows[:1], self.first_rows[1:]  # only the first begins at row 0
        firsts = torch.cat([first, torch.where(others == 0, self.rows, others)])
        starts = self.planes[:, :1].long()
        inside = torch.arange(self.patches, device=starts.device)
        return firsts, torch.where(starts < 0, self.rows, starts + inside)

    def copy_(self, other: "TokenLayout") -> "TokenLayout":
        """Copy another layout of the same capacity, in place."""
        if self.planes.shape != other.planes.shape or self.patches != other.patches:
            raise ValueError(
                f"the layouts have room for {len(other.planes)} planes of {other.patches} patches "
                f"and for {len(self.planes)} of {self.patches}: make both with the same room="
            )
        self.plan.copy_(other.plan)
        self.planes.copy_(other.planes, non_blocking=True)
        self.first_rows.copy_(other.first_rows, non_blocking=True)
        self.images, self.channels = other.images, other.channels
        return self
