"""The same networks for `environment_cost.py`: built here, and in an environment of its own."""

import numpy as np
import torch


def network(name):
    """Return a network with random parameters, the same wherever it is made; or a trivial one."""
    if name == "mean":
        return lambda planes: planes.mean((2, 3))
    import timm

    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=0).eval()


def build(options, *, weights, seed, device):
    """Build in the environment."""
    run = network(options["network"])

    def embed(batch):
        with torch.inference_mode():
            planes = torch.from_numpy(batch.planes).unflatten(0, (-1, 3))
            return np.asarray(run(planes))

    return embed


def build_here(spec, *, weights, seed):
    """Build in this process."""
    import zoo

    run = network(spec.options["network"])

    class Here(zoo.Encoder):
        def forward(self, batch, *, channels=False, tokens=False, layer=None):
            planes = batch.planes.unflatten(0, (-1, 3))
            return zoo.Features(run(planes), batch.counts)

    return Here(spec)
