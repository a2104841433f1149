"""A training step on a GPU beside the padded one, for batches of equal and of mixed channels."""

from gpu_stage import DEVICE, DRY, Rows, here, left
from train_step import SIDE, measure

CASES = {"3 channels": [3] * 64, "1 to 10 channels": [1, 10, 2, 5, 3, 4, 1, 2] * 4}
FIELDS = (
    *("case", "images", "planes", "images_per_s", "packed_step_s", "padded_step_s"),
    *("packed_forward_s", "padded_by_packed", "step_by_forward", "rounds", "device", "torch"),
    "commit",
)


def main() -> None:
    """Measure each case while there is time."""
    rows, device = Rows("train.csv", FIELDS), here()
    for name, counts in CASES.items():
        if left() < 5:
            return
        few = counts[:2] if DRY else counts
        row = measure(name, few, 1 if DRY else 5, device=DEVICE, side=32 if DRY else SIDE) | device
        rows.add(row)
        print({k: row[k] for k in FIELDS[:10]}, flush=True)


if __name__ == "__main__":
    main()
