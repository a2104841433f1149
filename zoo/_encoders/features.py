"""Outputs of an encoder: embeddings of images, and attention between channels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Output of an encoder for B images.

    Parameters
    ----------
    embedding
        `(B, D)` float32.
    counts
        Channels of each image, `(B,)` int64.
    channels
        If requested, one embedding per channel, `(sum of C_i, D)`, in the order of the planes.
    tokens
        If requested, one row per patch of each channel, `(T, D)`: image by image, channel by
        channel, row by row.
    token_offsets
        Row of `tokens` where each image starts, and T: `(B + 1,)` int64.

    Examples
    --------
    >>> import numpy as np
    >>> features = zoo.load("object-density", device="cpu").encode(np.zeros((2, 1, 64, 64)))
    >>> len(features), np.asarray(features).shape == features.embedding.shape
    (2, True)
    """

    embedding: Tensor
    counts: Tensor
    channels: Tensor | None = None
    tokens: Tensor | None = None
    token_offsets: Tensor | None = None

    def __len__(self) -> int:
        return self.embedding.shape[0]

    def numpy(self) -> NDArray[np.float32]:
        """Return the embedding as a NumPy array on the CPU, `(B, D)` float32.

        Examples
        --------
        >>> import torch
        >>> zoo.Features(torch.zeros(2, 3), torch.tensor([1, 4])).numpy().dtype
        dtype('float32')
        """
        return self.embedding.float().cpu().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:  # which NumPy 1 does not know
            return np.asarray(self.numpy(), dtype=dtype)
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __getitem__(self, rows: Any) -> Tensor:
        return self.embedding[rows]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.embedding)

    def __repr__(self) -> str:
        images, size = self.embedding.shape
        parts = {"channels": self.channels, "tokens": self.tokens}
        more = "".join(f", {k} {tuple(v.shape)}" for k, v in parts.items() if v is not None)
        return f"Features(embedding ({images}, {size}) on {self.embedding.device}{more})"


@dataclass(frozen=True)
class Attention:
    """Attention between the channels of one image, in L layers of H heads.

    Parameters
    ----------
    channels
        Attention from the tokens of one channel (rows) to all tokens of another (columns),
        averaged over the former: `(L, H, C + 1, C + 1)` float32. Row and column 0 are the CLS
        token; each row sums to 1.
    cls
        Attention from the CLS token to each patch of each channel: `(L, H, C, rows, columns)`
        float32. With its attention to itself, ``channels[:, :, 0, 0]``, it sums to 1.
    """

    channels: Tensor
    cls: Tensor


def join(pieces: list[tuple[list[int], Features]], counts: list[int]) -> Features:
    """Concatenate the features of batches in the order of the images."""
    order = [i for members, _ in pieces for i in members]
    back = torch.tensor(sorted(range(len(order)), key=order.__getitem__))

    def rows(parts: list[Tensor], lengths: list[int]) -> Tensor:
        blocks = torch.cat(parts).float().split([lengths[i] for i in order])
        return torch.cat([blocks[j] for j in back.tolist()])

    features = [f for _, f in pieces]
    embedding = torch.cat([f.embedding for f in features]).float()
    if order != sorted(order):
        embedding = embedding[back.to(embedding.device)]
    channels = tokens = offsets = None
    if features[0].channels is not None:
        channels = rows([f.channels for f in features if f.channels is not None], counts)
    if features[0].tokens is not None:
        lengths = [0] * len(counts)
        for members, f in pieces:
            assert f.token_offsets is not None  # returned together with tokens
            for i, n in zip(members, f.token_offsets.diff().tolist(), strict=True):
                lengths[i] = n
        tokens = rows([f.tokens for f in features if f.tokens is not None], lengths)
        offsets = torch.tensor([0, *lengths]).cumsum(0)
    return Features(embedding, torch.tensor(counts), channels, tokens, offsets)
