"""Whether recorded graphs give what launched kernels give, over batches that share a recording."""

import torch
from encode_providers import ENCODER
from gpu_stage import DEVICE, DRY, Rows

import zoo

# Batches of as many planes as the one before, of more, and of other images of as many channels.
COMPOSITIONS = (
    *([1], [1] * 3, [1] * 4, [4], [2, 2], [5], [8], [3, 2], [1] * 8, [10], [3] * 5, [8, 8]),
    *([1] * 33, [10] * 6, [1] * 64),
)
LIMIT = 1e-3
FIELDS = ("dtype", "counts", "relative_error")


def main() -> None:
    """Compare, and end with status 1 if a recording is wrong."""
    rows, wrong = Rows("replay.csv", FIELDS), 0
    for dtype in (torch.float32, torch.bfloat16):
        encoder = zoo.load(ENCODER, device=DEVICE, dtype=dtype)
        worst = 0.0
        for seed, counts in enumerate(COMPOSITIONS[: 5 if DRY else None]):
            draw = torch.Generator().manual_seed(seed)
            planes = torch.rand(sum(counts), 224, 224, generator=draw).to(DEVICE)
            batch = zoo.ImageBatch(planes, torch.tensor(counts))
            found = encoder.encode(batch, preprocess=False).embedding
            with torch.no_grad():  # outside of inference mode kernels are launched one by one
                typed = zoo.ImageBatch(planes.to(encoder.dtype), batch.counts)
                wanted = encoder.forward(typed).embedding
            error = ((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max().item()
            rows.add(
                {"dtype": dtype, "counts": " ".join(map(str, counts)), "relative_error": error}
            )
            worst = max(worst, error if error == error else float("inf"))
            wrong += not error < LIMIT
        print(f"{dtype}: recordings differ from launches by {worst:.1e} at most")
    if wrong:
        raise SystemExit(f"{wrong} recordings are WRONG; see replay.csv")


if __name__ == "__main__":
    main()
