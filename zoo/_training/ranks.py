"""Sums over the processes of a run, with gradients; without `torchrun` they change nothing."""

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started; yield this one's device.

    Threads of the group end with it only when the block leaves nothing behind that uses the group.
    One that outlives it can still hold a tensor when the interpreter ends, which aborts the process
    (pytorch/pytorch issue 190489).
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # Loaded later, by the kernels or DistributedDataParallel, its default arguments would keep the
    # group for ever.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
        dist.barrier()
    finally:
        # Modules first imported in the block leave frames in cycles, which may hold what uses it.
        gc.collect()
        dist.destroy_process_group()


@contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process do something before the others do it."""
    if rank() > 0:
        dist.barrier()
    yield
    if rank() == 0 and world() > 1:
        dist.barrier()


def summed(x: Tensor) -> Tensor:
    """Sum over processes, without a gradient."""
    if world() == 1:
        return x
    x = x.detach().clone()
    dist.all_reduce(x)
    return x


class _Sum(torch.autograd.Function):
    """Sum over processes; each gets the gradients of all."""

    @staticmethod
    def forward(_context: object, x: Tensor) -> Tensor:
        return summed(x)

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        return summed(gradient)


class SharedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the rows of all processes, on CPUs too; `(n, D)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by mean and variance of all rows; in evaluation mode by their averages."""
        if not self.training or world() == 1:
            return super().forward(x)
        rows = summed(x.new_tensor(float(len(x))))
        mean = _Sum.apply(x.sum(0)) / rows
        variance = _Sum.apply((x - mean).square().sum(0)) / rows
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            share = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * rows / (rows - 1), share)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return (x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias
