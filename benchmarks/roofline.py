"""How close a time of attention comes to what the machine could do at most."""

from collections.abc import Mapping

Row = Mapping[str, object]

EXPONENTIALS_PER_SM_AND_CLOCK = 16
"""Exact exponentials of one multiprocessor, from compute capability 7.0 to 10.0."""

# Bytes per second of the memory, by the name that the driver gives the GPU; from data sheets.
BANDWIDTH = {
    "NVIDIA A100-SXM4-40GB": 1.555e12,
    "NVIDIA A100-SXM4-80GB": 2.039e12,
    "NVIDIA A100 80GB PCIe": 1.935e12,
    "NVIDIA H100 80GB HBM3": 3.35e12,
    "NVIDIA H100 PCIe": 2.0e12,
    "NVIDIA H100 NVL": 3.9e12,
    "NVIDIA H200": 4.8e12,
    "NVIDIA B200": 8e12,
}
ITEM = {"bfloat16": 2, "float16": 2, "float32": 4}


def columns(row: Row) -> dict[str, float | None]:
    """Return scores a second, TFLOP/s, and per cent of two limits; None where one is unknown.

    Forward a score costs two products of length d and an exponential. Backward it costs five
    products, and two exponentials where the gradients of queries and of keys are computed apart, as
    they must be if nothing is to be added atomically; one would do otherwise, so that a rival may
    pass 100 per cent.
    """
    backward = row["pass"] == "backward"
    seconds, size = float(str(row["median_s"])), int(str(row["head_size"]))
    speed = int(str(row["scores"])) / seconds
    sms, megahertz = row.get("sms"), row.get("sm_clock_mhz")
    exponentials = None
    if sms and megahertz:
        limit = int(str(sms)) * EXPONENTIALS_PER_SM_AND_CLOCK * float(str(megahertz)) * 1e6
        exponentials = 100 * speed * (2 if backward else 1) / limit
    # Read qkv and write the output; or read these and its gradient, and write that of qkv.
    values = int(str(row["tokens"])) * int(str(row["heads"])) * size * (8 if backward else 4)
    bandwidth = BANDWIDTH.get(str(row["device"]))
    moved = values * ITEM[str(row["dtype"])] / seconds
    return {
        "scores_per_s": speed,
        "tflops": speed * size * (10 if backward else 4) / 1e12,
        "percent_ex2": exponentials,
        "percent_bandwidth": 100 * moved / bandwidth if bandwidth else None,
    }


def encoder_columns(row: Row) -> dict[str, float | None]:
    """Return for a pass of the whole encoder how close it comes to what the machine can do.

    `percent_products` compares the matrix products of the pass with the rate of one that was timed
    in the same run. `percent_floor` compares its time with the larger of products and exact
    exponentials, plus the bytes that must go through memory; None where a limit is unknown.
    """
    if not row.get("operations"):
        return {"percent_products": None, "percent_floor": None}
    seconds = float(str(row["median_s"]))
    products = float(str(row["operations"])) / float(str(row["product_rate"]))
    floor = None
    sms, megahertz = row.get("sms"), row.get("sm_clock_mhz")
    bandwidth = BANDWIDTH.get(str(row["device"]))
    if sms and megahertz and bandwidth:
        limit = int(str(sms)) * EXPONENTIALS_PER_SM_AND_CLOCK * float(str(megahertz)) * 1e6
        floor = max(products, float(str(row["exponentials"])) / limit)
        floor += float(str(row["bytes"])) / bandwidth
    return {
        "percent_products": 100 * products / seconds,
        "percent_floor": None if floor is None else 100 * floor / seconds,
    }
