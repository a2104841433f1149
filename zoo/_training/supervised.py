"""One step of training on labels, and the validation that ends it."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.registry import DataError

from .._encoders.contract import Encoder
from ..metrics import balanced_accuracy, r_squared
from .batches import ViewBatch
from .distil import Branch, here, make_optimiser, over_ranks, set_rate
from .images import TrainingImages
from .labels import Labels, weights_of
from .probe import embed
from .ranks import summed, world
from .settings import Settings

PATIENCE = 5
"""Validations without a better score after which training ends."""


class Supervised:
    """A network with a linear layer on its embedding.

    Parameters
    ----------
    encoder
        The network to start from.
    settings
        Of the run; ``settings.trained_layers`` says which of its layers learn.
    images, labels
        All images and their labels, held-out ones included.
    """

    def __init__(
        self, encoder: Encoder, settings: Settings, images: TrainingImages, labels: Labels
    ) -> None:
        self.settings, self.labels, self._images = settings, labels, images
        self.device = encoder.device
        head = nn.Linear(settings.embed_dim, labels.outputs)
        draw = torch.Generator().manual_seed(settings.seed)
        with torch.no_grad():
            nn.init.trunc_normal_(head.weight, std=0.02, generator=draw)
            head.bias.zero_()
        self.student = Branch(encoder, head).to(self.device).train()
        freeze(self.student.network, settings.trained_layers)
        self.optimiser = make_optimiser(self.student, settings)
        self._weights = weights_of(labels)
        self._held_out = np.flatnonzero(labels.held_out).tolist()
        self.best = copy.deepcopy(self.student.state_dict())
        self.best_score, self.waited = -float("inf"), 0
        self._forward = over_ranks(self.student, self.device)

    @property
    def finished(self) -> bool:
        """Whether validation has not improved for so long that training ends."""
        return self.waited >= PATIENCE

    def step(self, batch: ViewBatch) -> dict[str, float]:
        """Update with a batch; return what is logged."""
        planned = batch.planned
        set_rate(self.optimiser, self.settings, planned.step)
        _, outputs = self._forward([here(batch.large, self.device)])
        truth = torch.from_numpy(self.labels.values[list(batch.images)]).to(self.device).repeat(2)
        loss = self._loss(outputs, truth)
        self.optimiser.zero_grad()
        share = len(batch.images) / len(planned.images)
        (loss * (share * world())).backward()
        self.optimiser.step()
        rate = self.optimiser.param_groups[0]["lr"]
        return {"loss": float(summed(loss.detach() * share)), "learning_rate": rate}

    def _loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
        if self._weights is None:
            return F.mse_loss(outputs[:, 0], truth.float())
        return F.cross_entropy(outputs, truth.long(), weight=self._weights.to(outputs.device))

    def validate(self) -> dict[str, float]:
        """Score held-out groups; keep the network if it is the best so far."""
        truth = self.labels.values[self._held_out]
        outputs = self.outputs(self._images, self._held_out)
        if self.labels.classes is None:
            score = r_squared(truth, outputs[:, 0].double().cpu().numpy())
        else:
            score = balanced_accuracy(truth.astype(int), outputs.argmax(1).cpu().numpy())
        if score > self.best_score:
            self.best_score, self.waited = float(score), 0
            self.best = copy.deepcopy(self.student.state_dict())
        else:
            self.waited += 1
        return {"validation": float(score)}

    def outputs(self, images: TrainingImages, members: Sequence[int]) -> Tensor:
        """Outputs for prepared images, `(n, outputs)`."""
        rows = torch.from_numpy(embed(self.student.encoder, images, members)).float()
        with torch.no_grad():
            found: Tensor = self.student.head(rows.to(self.device))
        return found

    def take_best(self) -> None:
        """Go back to the network that did best on held-out groups."""
        self.student.load_state_dict(self.best)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "student": self.student.state_dict(),
            "best": self.best,
            "best_score": self.best_score,
            "waited": self.waited,
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.student.load_state_dict(state["student"])
        self.best, self.waited = state["best"], state["waited"]
        self.best_score = state["best_score"]
        self.optimiser.load_state_dict(state["optimiser"])


def freeze(network: nn.Module, layers: int | None) -> None:
    """Leave the last `layers` blocks and the final norm to be trained; None for all, 0 for none.

    Raises
    ------
    DataError
        For more layers than there are.
    """
    if layers is None:
        return
    blocks: Any = network.blocks
    if layers > len(blocks):
        raise DataError(f"trained_layers is {layers}, but the network has {len(blocks)} layers")
    network.requires_grad_(False)
    for block in blocks[len(blocks) - layers :]:
        block.requires_grad_(True)
    if layers:
        norm: Any = network.norm
        norm.requires_grad_(True)
