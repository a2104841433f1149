"""The encoder beside its rivals on a GPU: the most important cases first, until time is up."""

from functools import partial
from statistics import median

import encode_table
import torch
from device_clock import seconds_per_call, warm_up
from encode_cases import Case
from encode_gate import LIMITS, exact
from encode_providers import PROVIDERS, Provider
from gpu_stage import DEVICE, DRY, Rows, here, left, timed
from peak_memory import peak_mib
from roofline import encoder_columns

COMPILED, COMPILE_SECONDS = "bucketed SDPA, compiled", 45
COMPILED_FOR = {("long-tailed", 256), ("3 channels", 256), ("3 channels", 1), ("1 channel", 1)}
PADDED_CASES = (0, 1, 4, 9)


def cases() -> list[Case]:
    """Return the batches in the order in which they matter."""
    bf16, fp32 = torch.bfloat16, torch.float32
    if DRY:
        return [Case("3 channels", 1, fp32, "cpu")]
    wanted = (
        ("long-tailed", 256, bf16),
        ("3 channels", 256, bf16),
        ("10 channels", 32, bf16),
        ("1 channel", 256, bf16),
        ("3 channels", 1, bf16),
        ("1 channel", 1, bf16),
        ("10 channels", 1, bf16),
        ("uniform 1-10", 32, bf16),
        ("3 channels", 16, bf16),
        ("3 channels", 32, fp32),
        ("long-tailed", 32, fp32),
    )
    return [Case(*one, DEVICE) for one in wanted]


def product_rate(dtype: torch.dtype) -> float:
    """Return operations a second of a matrix product that fills the device."""
    side = 512 if DRY else 8192
    a, b = (torch.randn(side, side, device=DEVICE).to(dtype) for _ in range(2))
    return 2 * side**3 / timed(partial(torch.mm, a, b), 5)


def is_wanted(provider: str, case: Case, number: int, *, made: bool) -> bool:
    """Whether a provider is timed on a case: compiling takes long, and the padded ones are slow."""
    if provider == COMPILED:
        if case.dtype != torch.bfloat16 or (case.workload, case.images) not in COMPILED_FOR:
            return False
        return made or left() > COMPILE_SECONDS
    if provider.startswith("padded") and number not in PADDED_CASES:
        return False
    return left() > 3


def main() -> None:
    """Time all that there is time for."""
    rows, device = Rows("encode.csv", encode_table.FIELDS), here()
    rates = {dtype: product_rate(dtype) for dtype in {case.dtype for case in cases()}}
    made: dict[tuple[str, torch.dtype], Provider] = {}  # one compiled network for all cases
    for number, case in enumerate(cases()):
        if left() < 6:
            print(f"no time for {case} and what follows")
            return
        batch, wanted = case.batch(0), exact(case)
        exact.cache_clear()
        for name in PROVIDERS:
            key = (name, case.dtype)
            if not is_wanted(name, case, number, made=key in made):
                continue
            try:
                if key not in made:
                    made[key] = PROVIDERS[name](case)
                call = partial(made[key].encode, batch)
                error = ((call().double() - wanted).norm() / wanted.norm()).item()
            except Exception as failure:
                why = str(failure).strip().partition("\n")[0]
                print(f"{case} {name}: {type(failure).__name__}: {why[:200]}", flush=True)
                if DEVICE == "cuda":
                    torch.cuda.empty_cache()
                continue
            if not error < LIMITS[case.arithmetic]:
                print(f"{case} {name}: not timed, for it differs by {error:.1e}", flush=True)
                continue
            seconds = warm_up(call, DEVICE, 0.1)
            rounds = max(7, min(25, int(0.4 / seconds)))
            times = sorted(seconds_per_call([call], DEVICE) for _ in range(rounds))
            row: dict[str, object] = {
                "workload": case.workload,
                "provider": name,
                "images": case.images,
                "channels": sum(case.counts),
                "dtype": case.arithmetic,
                "rounds": rounds,
                "relative_error": error,
                "operations": case.operations,
                "exponentials": case.exponentials,
                "bytes": case.bytes,
                "product_rate": rates[case.dtype],
                "median_s": median(times),
                "p20_s": times[round(0.2 * (rounds - 1))],
                "p80_s": times[round(0.8 * (rounds - 1))],
                "peak_mib": peak_mib(call, DEVICE),
                **device,
            }
            row |= encoder_columns(row)
            rows.add(row)
            rate = case.images / median(times)
            floor = row["percent_floor"]
            shown = "" if floor is None else f", {floor:.0f} % of the floor"
            print(f"{case!s:32} {name:26} {rate:9.1f} images/s{shown}", flush=True)


if __name__ == "__main__":
    main()
