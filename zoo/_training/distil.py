"""One step of self-distillation: student, teacher, centre and optimiser."""

import copy
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zoo.registry import CollapseError

from .._encoders.contract import Encoder
from .._images.batch import ImageBatch
from . import dino, schedules
from .batches import ViewBatch
from .ranks import summed, world
from .settings import Settings


class Branch(nn.Module):
    """A network with its head."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        assert encoder.model is not None
        self.encoder = encoder
        self.network = encoder.model
        self.head = head

    def forward(self, views: list[ImageBatch]) -> tuple[Tensor, Tensor]:
        """Embeddings `(n, D)` and logits `(n, K)` of all views, size by size."""
        found = [self.encoder.forward(batch).embedding for batch in views]
        found = [rows.to(torch.promote_types(rows.dtype, torch.float32)) for rows in found]
        # Sizes go through the head one by one: batch normalisation sees views of one kind.
        return torch.cat(found), torch.cat([self.head(rows) for rows in found])


class Distillation:
    """Student and teacher of a run.

    Parameters
    ----------
    encoder
        The untrained network, or the one to go on from; becomes the student.
    settings
        Of the run.
    """

    def __init__(self, encoder: Encoder, settings: Settings) -> None:
        self.settings = settings
        self.device = encoder.device
        head = dino.Head(
            settings.embed_dim,
            settings.head_hidden,
            settings.head_bottleneck,
            settings.prototypes,
            batch_norm=settings.batch_norm,
            fixed_length=settings.fixed_length,
        )
        head.initialise(torch.Generator().manual_seed(settings.seed))
        assert encoder.model is not None
        dtype = next(encoder.model.parameters()).dtype
        self.student = Branch(encoder, head.to(dtype)).to(self.device).train()
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.centre = torch.zeros(1, settings.prototypes, dtype=dtype, device=self.device)
        self.optimiser = make_optimiser(self.student, settings)
        given = settings.momentum
        self.kept = max(1 - 10 / settings.steps, 0.9) if given is None else given
        self._forward = over_ranks(self.student, self.device)

    finished = False

    def step(self, batch: ViewBatch) -> dict[str, float]:
        """Update student, teacher and centre with a batch; return what is logged."""
        settings, planned = self.settings, batch.planned
        temperature = schedules.teacher_temperature(
            planned.epoch,
            first=settings.first_teacher_temperature,
            final=settings.teacher_temperature,
            warmup=settings.temperature_epochs,
        )
        set_rate(self.optimiser, settings, planned.step)
        views = [here(views, self.device) for views in batch.views]
        with self._autocast():
            with torch.no_grad():
                _, seen = self.teacher(views[:1])
            embeddings, logits = self._forward(views)
        targets = self._targets(seen, temperature)
        loss = dino.cross_entropy(
            logits, targets, views=2 + settings.small_crops * (batch.small is not None)
        )
        total = loss
        if settings.spread:
            large = embeddings[: len(views[0])]
            total = loss + settings.spread * dino.spread_loss(large)
        if not bool(torch.isfinite(total)):
            raise CollapseError(
                f"the loss is {float(total.detach())} at step {planned.step}: lower learning_rate, "
                "or set clip to 1"
            )
        self.optimiser.zero_grad()
        # DistributedDataParallel takes the mean over processes, which may hold unequal numbers.
        (total * (len(batch.images) * world() / len(planned.images))).backward()
        self._bound_gradients(planned.epoch)
        self.optimiser.step()
        self.centre = dino.moved_centre(self.centre, seen)
        kept = schedules.momentum(planned.step + 1, settings.steps, self.kept)
        dino.follow(self.teacher, self.student, kept)
        return self._log(loss, targets, embeddings[: len(views[0])], batch) | {
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "momentum": kept,
            "teacher_temperature": temperature,
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        )

    def _targets(self, seen: Tensor, temperature: float) -> Tensor:
        if self.settings.centring == "sinkhorn":
            return dino.balanced(seen, temperature)
        return dino.sharpened(seen, self.centre, temperature)

    def _bound_gradients(self, epoch: int) -> None:
        if self.settings.clip:
            dino.clip_each(list(self.student.network.parameters()), self.settings.clip)
        if epoch < self.settings.frozen_epochs:
            head: Any = self.student.head
            for parameter in head.prototypes.parameters():
                parameter.grad = None  # None, not zero: the optimiser leaves it as it is

    @torch.no_grad()
    def _log(
        self, loss: Tensor, targets: Tensor, embeddings: Tensor, batch: ViewBatch
    ) -> dict[str, float]:
        share = len(batch.images) / len(batch.planned.images)
        whole = summed(torch.stack([loss.detach() * share, entropy(targets).mean() * share]))
        rows = 2 * len(batch.planned.images)
        mean, middle = summed(targets.sum(0)) / rows, summed(embeddings.sum(0)) / rows
        squares = [(embeddings - middle).square().sum(), embeddings.square().sum()]
        around, whole_square = summed(torch.stack(squares))
        most = math.log(targets.shape[1])
        return {
            "loss": float(whole[0]),
            "loss_of_uniform": float(whole[0]) / most,
            "teacher_entropy": float(whole[1]) / most,
            "entropy_of_mean": float(entropy(mean)) / most,
            "spread": float((around / whole_square).sqrt()),
        }

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "centre": self.centre,
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.centre = state["centre"].to(self.device)
        self.optimiser.load_state_dict(state["optimiser"])


def here(views: ImageBatch, device: torch.device) -> ImageBatch:
    """Move views to a device, without waiting for it."""
    if device.type == "cpu":
        return views
    planes = views.planes.pin_memory().to(device, non_blocking=True)
    return ImageBatch(planes, views.counts, channel_index=views.channel_index)


def over_ranks(branch: Branch, device: torch.device) -> nn.Module:
    """Return the branch, whose gradients are the mean over processes where there are several."""
    if world() == 1:
        return branch
    where = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():
        # Its replacement, forward_sync_buffers, still sends the buffers at the start.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        # Statistics of batches are summed by the head itself.
        return DistributedDataParallel(branch, device_ids=where, broadcast_buffers=False)


def set_rate(optimiser: torch.optim.Optimizer, settings: Settings, step: int) -> None:
    """Set the learning rate of a step."""
    rate = schedules.learning_rate(
        step,
        settings.steps,
        peak=settings.learning_rate * settings.images / 256,
        warmup=round(settings.warmup * settings.steps),
        start=settings.first_rate,
    )
    for group in optimiser.param_groups:
        group["lr"] = rate


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy of rows, in nats."""
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)


def make_optimiser(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The optimiser of all parameters; biases and norms without weight decay unless asked for."""
    trained = [p for p in model.parameters() if p.requires_grad]
    spared = [p for p in trained if p.ndim <= 1 and not settings.decay_all]
    chosen = {id(p) for p in spared}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if id(p) not in chosen]},
        {"params": spared, "weight_decay": 0.0},
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(groups, lr=0.0, weight_decay=settings.weight_decay)
