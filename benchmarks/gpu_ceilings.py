"""What this GPU can do at most: bytes copied, bfloat16 products and exponentials a second."""

import json
import subprocess

import torch
import triton
import triton.language as tl
from gpu_stage import DRY, OUT, here, timed

SIDE = 8192


@triton.jit
def exponentiate(out, rounds, size: tl.constexpr):
    """Nothing but exponentials, and a subtraction each that keeps them in (0.5, 1]."""
    x = tl.arange(0, size).to(tl.float32) / size
    for _ in range(rounds):
        x = tl.exp2(x - 1.0)
        x = tl.exp2(x - 1.0)
        x = tl.exp2(x - 1.0)
        x = tl.exp2(x - 1.0)
    tl.store(out + tl.program_id(0) * size + tl.arange(0, size), x)


def exponentials(multiprocessors: int) -> float:
    """Return exact exponentials a second."""
    size, programs, rounds = 4096, 16 * multiprocessors, 2000
    out = torch.empty(programs * size, device="cuda")
    seconds = timed(lambda: exponentiate[(programs,)](out, rounds, size, num_warps=4))
    return programs * size * rounds * 4 / seconds


def main() -> None:
    """Print the machine and its ceilings, and keep both."""
    OUT.mkdir(parents=True, exist_ok=True)
    found: dict[str, object] = dict(here())
    if not DRY:
        subprocess.run(["nvidia-smi"], check=False)
        source = torch.empty(2**30, dtype=torch.int8, device="cuda").random_()
        target = torch.empty_like(source)
        a, b = (torch.randn(SIDE, SIDE, device="cuda").bfloat16() for _ in range(2))
        found["copied_bytes_per_s"] = 2 * source.numel() / timed(lambda: target.copy_(source))
        found["bfloat16_flops"] = 2 * SIDE**3 / timed(lambda: a @ b)
        multiprocessors = torch.cuda.get_device_properties(0).multi_processor_count
        found["exponentials_per_s"] = exponentials(multiprocessors)
    text = json.dumps(found, indent=1)
    (OUT / "ceilings.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
