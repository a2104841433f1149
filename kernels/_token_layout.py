"""Which row of a packed batch holds which patch of which channel."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ._ragged_plan import RaggedPlan, sent

NO_PLANE = -1
"""First row of a plane that is not there."""


@dataclass(eq=False)
class TokenLayout:
    """Where the tokens of a ragged batch lie: for each image a CLS row, then its planes' patches.

    Make one with `from_counts`, once per batch. B images, N planes, P patches to a plane.

    Parameters
    ----------
    plan
        The sequences, for attention.
    planes
        First row of each plane, and the place of its channel in the channel embedding: `(N, 2)`
        int32. A first row of -1 says that the plane is not there.
    first_rows
        Row of each image's CLS token, `(B,)` int64.
    patches
        Patches to a plane, P.
    images, channels
        Images and planes asked for; more of both may have room.

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
        """Lay out images of these channel counts, in this order.

        Parameters
        ----------
        counts
            Channels of each image, 1 or more.
        places
            Place of each plane in the channel embedding, `(sum of counts,)`.
        patches
            Patches to a plane.
        device
            Where the rows are.
        room
            Planes that there is room for, each of which may be an image: then all layouts of the
            same room have tensors of the same shapes, as a CUDA graph needs them.

        Raises
        ------
        ValueError
            When counts, places and room do not fit together.

        Examples
        --------
        >>> from zoo.kernels import TokenLayout
        >>> TokenLayout.from_counts([1, 2], [0, 0, 1], patches=4).first_rows.tolist()
        [0, 5]
        """
        counts, total = [int(c) for c in counts], sum(int(c) for c in counts)
        if any(c < 1 for c in counts):
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
        table, row = [], 0
        starts = []
        place = iter(places)
        for count in counts:
            starts.append(row)
            for channel in range(count):
                table += [row + 1 + channel * patches, int(next(place))]
            row += 1 + count * patches
        if room is not None:
            table += [NO_PLANE, 0] * (room - total)
            starts += [0] * (room - len(counts))
        both = sent(torch.frombuffer(array("i", table + starts), dtype=torch.int32), device)
        planes, firsts = both.split([len(table), len(starts)])
        return cls(plan, planes.view(-1, 2), firsts.long(), patches, len(counts), total)

    @property
    def rows(self) -> int:
        """Rows of the batch, those that nothing uses included."""
        return self.plan.total

    def patch_rows(self) -> Tensor:
        """Return the row of each patch of each plane asked for, `(N, P)` int64."""
        inside = torch.arange(self.patches, device=self.planes.device)
        return self.planes[: self.channels, :1].long() + inside

    def copy_(self, other: "TokenLayout") -> "TokenLayout":
        """Take over another layout of the same room, in place."""
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
