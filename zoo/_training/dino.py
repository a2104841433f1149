"""Self-distillation without labels: DINO (Caron et al., 2021), as the authors of ChAda-ViT use it.

Shapes: B images, V views (large crops first), D features, K prototypes; rows of logits go view by
view, and within a view image by image.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ranks import SharedBatchNorm, summed

STUDENT_TEMPERATURE = 0.1
CENTRE_MOMENTUM = 0.9


class Prototypes(nn.Module):
    """Cosines to K prototypes, each times its length: a linear layer with weight normalisation."""

    def __init__(self, features: int, prototypes: int, *, fixed_length: bool) -> None:
        super().__init__()
        self.length = nn.Parameter(torch.ones(prototypes, 1), requires_grad=not fixed_length)
        self.direction = nn.Parameter(torch.empty(prototypes, features))

    def forward(self, x: Tensor) -> Tensor:
        """Map rows `(n, D)` to logits `(n, K)`."""
        return F.linear(x, self.length * F.normalize(self.direction, dim=1))


class Head(nn.Module):
    """Projection head: an MLP, unit rows, prototypes.

    Parameters
    ----------
    features, hidden, bottleneck, prototypes
        Widths.
    batch_norm
        Whether the hidden layers are normalised over the batch, which guards against collapse.
    fixed_length
        Whether all prototypes keep length 1.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        bottleneck: int,
        prototypes: int,
        *,
        batch_norm: bool,
        fixed_length: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (features, hidden):
            layers.append(nn.Linear(width, hidden))
            layers += [SharedBatchNorm(hidden)] if batch_norm else []
            layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        self.prototypes = Prototypes(bottleneck, prototypes, fixed_length=fixed_length)

    def forward(self, x: Tensor) -> Tensor:
        """Map embeddings `(n, D)` to logits `(n, K)`, never in half precision."""
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.prototypes(F.normalize(self.mlp(x), dim=-1))
        return logits

    @torch.no_grad()
    def initialise(self, draw: torch.Generator) -> None:
        """Draw the MLP from truncated normals of sd 0.02, the prototypes uniformly."""
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02, generator=draw)
                nn.init.zeros_(layer.bias)
        bound = self.prototypes.direction.shape[1] ** -0.5
        self.prototypes.direction.uniform_(-bound, bound, generator=draw)


def cross_entropy(student: Tensor, targets: Tensor, *, views: int) -> Tensor:
    """Cross-entropy between each large crop as the teacher sees it and all other views.

    Parameters
    ----------
    student
        Logits of all views, `(V · B, K)`.
    targets
        Probabilities of the large crops, `(2 · B, K)`.
    views
        V.

    Returns
    -------
    Tensor
        The mean over pairs of different views and images, a scalar.
    """
    predicted = F.log_softmax(student / STUDENT_TEMPERATURE, dim=-1).chunk(views)
    wanted = targets.chunk(2)
    terms = [
        -(p * q).sum(-1).mean()
        for i, p in enumerate(wanted)
        for j, q in enumerate(predicted)
        if i != j
    ]
    return torch.stack(terms).mean()


def sharpened(teacher: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Probabilities of the teacher, `(n, K)`, from logits less their centre, `(1, K)`."""
    return F.softmax((teacher - centre) / temperature, dim=-1)


@torch.no_grad()
def balanced(teacher: Tensor, temperature: float, rounds: int = 3) -> Tensor:
    """Probabilities with equal use of all prototypes (Sinkhorn-Knopp; SwAV, Caron et al., 2020)."""
    logits = teacher.double() / temperature
    peak = logits.max()
    found = (logits - peak).exp()
    images = summed(found.new_tensor(float(len(found))))
    for _ in range(rounds):
        found = found / summed(found.sum(0, keepdim=True)).clamp_min(1e-300) / found.shape[1]
        found = found / found.sum(1, keepdim=True).clamp_min(1e-300) / images
    return (found * images).float()


@torch.no_grad()
def moved_centre(centre: Tensor, teacher: Tensor) -> Tensor:
    """Move the centre towards the mean of the teacher's logits over all processes."""
    total = summed(teacher.sum(0, keepdim=True))
    rows = summed(teacher.new_tensor(float(len(teacher))))
    return centre * CENTRE_MOMENTUM + total / rows * (1 - CENTRE_MOMENTUM)


def spread_loss(embeddings: Tensor) -> Tensor:
    """KoLeo: minus the mean log distance of unit rows to their nearest (Sablayrolles, 2019)."""
    rows = F.normalize(embeddings.float(), dim=-1)
    with torch.no_grad():
        nearest = (rows @ rows.T).fill_diagonal_(-2).argmax(1)
    return -(F.pairwise_distance(rows, rows[nearest]) + 1e-8).log().mean()


@torch.no_grad()
def clip_each(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Bound the gradient of each parameter by its own norm."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_((most / (parameter.grad.norm() + 1e-6)).clamp(max=1))


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, kept: float) -> None:
    """Move the teacher's parameters towards the student's; `kept` is what stays."""
    targets: list[Tensor] = list(teacher.parameters())
    sources: list[Tensor] = list(student.parameters())
    torch._foreach_mul_(targets, kept)
    torch._foreach_add_(targets, sources, alpha=1 - kept)
