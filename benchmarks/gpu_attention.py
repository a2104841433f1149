"""Attention beside its rivals on a GPU: the most important cases first, until time is up."""

import warnings
from functools import partial
from statistics import median

import attention_table
import torch
from attention_cases import Case
from attention_gate import Gate, poison, relative_error
from attention_providers import PADDED, PROVIDERS, Attention, calls_of, entered, refusal
from device_clock import calls_at_once, graph_of, seconds_per_call, warm_up
from gpu_stage import DEVICE, DRY, Rows, here, left
from roofline import columns

FLEX = "FlexAttention"
FLEX_SECONDS, FLEX_CASES = 35, 3  # it compiles twice a case
SLOW = (PADDED, "padded to longest", "bucketed, math")
SLOW_CASES = 2


def cases() -> list[Case]:
    """Return the batches in the order in which they matter."""
    bf16, fp16, fp32 = torch.bfloat16, torch.float16, torch.float32
    if DRY:
        return [
            Case("3 channels", 1, 16, fp32, "cpu"),
            Case("long-tailed", 2, 16, fp32, "cpu", backward=True),
        ]
    mixes = ("long-tailed", "uniform 1-10", "10 channels", "3 channels", "1 channel")
    found = [Case(mix, 64, 16, bf16, DEVICE) for mix in mixes]
    found += [
        Case(mix, 64, 16, bf16, DEVICE, backward=True) for mix in ("long-tailed", "10 channels")
    ]
    found += [
        Case(mix, images, 16, bf16, DEVICE)
        for images in (1, 8)
        for mix in ("1 channel", "3 channels", "10 channels")
    ]
    found += [Case("long-tailed", 64, size, bf16, DEVICE) for size in (32, 64, 96)]
    found += [Case("long-tailed", 64, 16, fp16, DEVICE), Case("long-tailed", 8, 16, fp32, DEVICE)]
    return [*found, Case("long-tailed", 64, 64, bf16, DEVICE, backward=True)]


def measured(attention: Attention, case: Case, gate: Gate) -> dict[str, object]:
    """Check a provider, time it, and time it in a graph; raises `ValueError` for a wrong answer."""
    qkv, grad = case.inputs(0)
    poison(qkv, grad)
    first = entered(attention, (qkv, grad))
    (call,) = calls_of(attention, case, [first])
    answer = call()
    found = attention.leave(answer[0] if case.backward else answer)
    wrong = gate.refuse(found)
    if wrong is not None:
        raise ValueError(f"not timed: {wrong}")
    seconds = warm_up(call, DEVICE, 0.03)
    more = range(1, min(8, calls_at_once(seconds)))
    inputs = [first, *(entered(attention, case.inputs(seed)) for seed in more)]
    calls = calls_of(attention, case, inputs)
    rounds = max(7, min(25, int(0.12 / (seconds * len(calls)))))
    times = sorted(seconds_per_call(calls, DEVICE) for _ in range(rounds))
    graph = None
    if DEVICE == "cuda" and attention.graph and len(calls) > 1 and left() > 10:
        try:
            replay = graph_of(partial(calls_of, attention, case, inputs))
            replay()
            graph = median(seconds_per_call([replay], DEVICE) for _ in range(7)) / len(calls)
        except Exception as failure:  # the time without a graph stands
            print(f"{case}: no CUDA graph: {failure}")
    return {
        "relative_error": relative_error(found, gate.wanted),
        "rounds": rounds,
        "graph_s": graph,
        "median_s": median(times),
        "p20_s": times[round(0.2 * (rounds - 1))],
        "p80_s": times[round(0.8 * (rounds - 1))],
    }


def main() -> None:
    """Time all that there is time for."""
    rows, device, flexed = Rows("attention.csv", attention_table.FIELDS), here(), 0
    for number, case in enumerate(cases()):
        if left() < 4:
            print(f"no time for {case} and what follows")
            return
        with torch.set_grad_enabled(case.backward):
            qkv, grad = case.inputs(0)
            gate = Gate.of(qkv, case.lengths, grad if case.backward else None)
            del qkv, grad
        for provider in PROVIDERS:
            if provider in SLOW and number >= SLOW_CASES:
                continue
            if provider == FLEX:
                flexed += 1
                if flexed > FLEX_CASES or left() < FLEX_SECONDS:
                    continue
            if left() < 2:
                return
            try:
                with torch.set_grad_enabled(case.backward), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    attention = PROVIDERS[provider](case)
                    with attention.context():
                        times = measured(attention, case, gate)
            except Exception as failure:
                why = refusal(failure) or f"FAILED, {type(failure).__name__}: {failure}"
                print(f"{case} {provider}: {why.splitlines()[0][:300]}", flush=True)
                if DEVICE == "cuda":
                    torch.cuda.empty_cache()
                continue
            row: dict[str, object] = {
                "workload": case.workload,
                "provider": provider,
                "pass": case.direction,
                "images": case.images,
                "tokens": sum(case.lengths),
                "heads": case.heads,
                "head_size": case.size,
                "dtype": case.arithmetic,
                "scores": case.scores,
                "mask_s": attention.mask_s,
                "plan_s": attention.plan_s,
                **times,
                **device,
            }
            row |= columns(row)
            rows.add(row)
            shown = [f"{1e3 * float(str(row['median_s'])):8.4f} ms"]
            if row["percent_ex2"] is not None:
                shown.append(f"{row['percent_ex2']:.1f} % of exponentials")
            print(f"{case!s:48} {provider:22}", *shown, flush=True)
        if DEVICE == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
