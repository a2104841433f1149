"""Two processes against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[3]
GRADIENTS = """
import gc
import sys
from dataclasses import replace
import torch
from safetensors.torch import save_file
import zoo
from zoo._encoders.build import build
from zoo._training.batches import Waiting, batches
from zoo._training.distil import Distillation
from zoo._training.images import survey
from zoo._training.ranks import joined, rank, world
from zoo._training.settings import read_settings
sys.path.insert(0, sys.argv[1])
from tests.zoo.training.conftest import SMALL, striped
from tests.zoo.training.test_ranks import no_thread_of_the_group_lives

torch.set_num_threads(1)


def one_step():
    encoder = build(spec)
    encoder.model.double()
    ours = Distillation(encoder, settings)
    images = survey(striped(), settings)
    made = batches(images, settings, rank=rank(), world=world(), waiting=Waiting())
    batch = next(made)
    views = [replace(v, planes=v.planes.double()) for v in batch.views]
    row = ours.step(replace(batch, large=views[0], small=views[1]))
    if rank() == 0:
        found = {k: p.grad for k, p in ours.student.named_parameters() if p.grad is not None}
        buffers = {k: b for k, b in ours.student.named_buffers() if b.is_floating_point()}
        logged = {f"logged.{k}": torch.tensor(v).double() for k, v in row.items()}
        save_file({**found, **buffers, **logged, "centre": ours.centre}, sys.argv[2])


few = {"images": 7, "frozen_epochs": 0, "optimiser": "sgd"}
settings = read_settings("tiny", None, {**SMALL, **few})
spec = replace(zoo.plugin.get_spec("chadavit-untrained"), options=settings.architecture,
               embedding_size=32)
gc.disable()  # the group has to end whether or not garbage happens to be collected
with joined(torch.device("cpu")):
    one_step()
no_thread_of_the_group_lives()
"""
RUN = """
import sys
import torch, zoo
sys.path.insert(0, sys.argv[1])
from tests.zoo.training.conftest import SMALL, striped
from tests.zoo.training.test_ranks import no_thread_of_the_group_lives

torch.set_num_threads(1)
zoo.train(striped(), sys.argv[2], device="cpu", **{**SMALL, "images": 7, "optimiser": "sgd"})
no_thread_of_the_group_lives()
"""


def no_thread_of_the_group_lives():
    """One that still holds a tensor when the interpreter ends aborts the process."""
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    assert not {name for name in names if "gloo" in name}, names


def start(script, processes, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*launch, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def on_one_and_two(script, tmp_path, suffix=""):
    (tmp_path / "script.py").write_text(script)
    found = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}{suffix}"
        start(script, processes, tmp_path / "script.py", ROOT, out)
        found.append(out)
    return found


@pytest.mark.long
def test_gradients_of_two_processes_are_those_of_the_joined_batch(tmp_path):
    """Seven images of different channel counts, four here and three there, in float64."""
    one, two = (load_file(p) for p in on_one_and_two(GRADIENTS, tmp_path, ".safetensors"))
    assert one.keys() == two.keys()
    assert any("mlp" in k for k in one)
    for name, wanted in one.items():
        scale = max(float(wanted.abs().max()), 1e-3)
        assert float((two[name] - wanted).abs().max()) < 1e-8 * scale, (
            name
        )  # positions are resampled in float32


@pytest.mark.slow
def test_a_run_of_two_processes_is_that_of_one(tmp_path):
    one, two = on_one_and_two(RUN, tmp_path)
    first, second = (load_file(p / "model.safetensors") for p in (one, two))
    for name, wanted in first.items():
        assert torch.allclose(second[name], wanted, atol=1e-5), name
    logs = [(p / "log.jsonl").read_text().splitlines() for p in (one, two)]
    for a, b in zip(*logs, strict=True):
        assert json.loads(a)["loss"] == pytest.approx(json.loads(b)["loss"], rel=1e-4)
