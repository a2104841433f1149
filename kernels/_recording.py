"""CUDA graphs keep the Python numbers of the batch that they were recorded with."""

import torch


def refuse_recording(what: str) -> None:
    """Raise `RuntimeError` where a CUDA graph is being recorded.

    For functions whose kernels follow from Python numbers of a batch, such as lengths: replayed
    with a batch of the same shapes and other lengths, they would give wrong numbers silently.
    """
    if torch.compiler.is_compiling():
        return  # compiled code is for these lengths alone, and is made again for others
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"{what} cannot be recorded as a CUDA graph: it depends on the lengths of this batch"
        )
