"""Whether the GPU waits for launches: seconds of the host and of all of a pass, and its kernels."""

import time
from collections import Counter
from collections.abc import Callable
from statistics import median

import torch
from encode_cases import Case
from encode_providers import ENCODER
from gpu_stage import DEVICE, DRY, Rows, here

import zoo

# Launched kernel by kernel here, also where encoders replay a graph in place of it.
BATCHES = (("1 channel", 65), ("3 channels", 22), ("1 channel", 512), ("3 channels", 170))
FIELDS = ("workload", "images", "host_s", "all_s", "kernels", "busy_s", "device", "torch", "commit")


def busy(run: Callable[[], object]) -> tuple[int, Counter[str]]:
    """Return how many kernels a pass launches, and the seconds of each kind."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        run()
        torch.cuda.synchronize()
    kernels = [event for event in profiled.events() if event.device_type.name == "CUDA"]
    seconds: Counter[str] = Counter()
    for event in kernels:
        seconds[event.name[:40]] += event.device_time / 1e6
    return len(kernels), seconds


def main() -> None:
    """Time a pass of each batch, launched kernel by kernel."""
    dtype = torch.float32 if DRY else torch.bfloat16
    model = zoo.load(ENCODER, device=DEVICE, dtype=dtype).model
    rows, device = Rows("host.csv", FIELDS), here()
    for workload, images in BATCHES[1:2] if DRY else BATCHES:
        case = Case(workload, 1 if DRY else images, dtype, DEVICE)
        batch = case.batch(0)
        places = torch.cat([torch.arange(count) for count in case.counts])

        def run(batch: zoo.ImageBatch = batch, places: torch.Tensor = places) -> object:
            with torch.inference_mode():
                return model(batch.planes, batch.counts, places, cls_only=True)[0]

        synchronize = torch.cuda.synchronize if DEVICE == "cuda" else (lambda: None)
        run()
        run()
        host, whole = [], []
        for _ in range(2 if DRY else 5):
            synchronize()
            start = time.perf_counter()
            run()
            host.append(time.perf_counter() - start)
            synchronize()
            whole.append(time.perf_counter() - start)
        count, seconds = busy(run) if DEVICE == "cuda" else (0, Counter[str]())
        row = {
            "workload": workload,
            "images": case.images,
            "host_s": median(host),
            "all_s": median(whole),
            "kernels": count,
            "busy_s": sum(seconds.values()),
            **device,
        }
        rows.add(row)
        print(f"{case}: host {1e3 * median(host):.2f} of {1e3 * median(whole):.2f} ms,", end=" ")
        most = ", ".join(f"{name} {1e3 * s:.2f}" for name, s in seconds.most_common(8))
        print(f"{count} kernels, {1e3 * sum(seconds.values()):.2f} ms busy: {most}", flush=True)


if __name__ == "__main__":
    main()
