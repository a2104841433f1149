"""Run a job again and again in child processes that are killed, until it is done.

Called with the folder of images, the folder of the job, the number of kills and a seed. Prints
how many children were killed before the job was done.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

import zoo
from zoo._embedding.job import run_job


def main(source, out, kills, seed):
    torch.set_num_threads(1)
    chance = random.Random(seed)
    dataset = zoo.open_images(source)
    encoder = zoo.load("pixel-statistics", device="cpu")
    killed = 0
    while True:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run_job(dataset, encoder, Path(out), shard_size=4)
                code = 0
            finally:
                os._exit(code)
        if killed < kills:
            time.sleep(chance.uniform(0.0, 0.25))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            killed += 1
        elif os.WEXITSTATUS(status):
            sys.exit(f"the job failed after {killed} kills")
        elif killed >= kills or not kills:
            sys.stdout.write(f"{killed}\n")
            return
        else:  # it was done before it could be killed: kill it again on what is left
            parts = sorted(Path(out, "parts").glob("*.parquet"))
            for part in chance.sample(parts, len(parts) // 2):
                part.unlink()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
