"""Self-distillation against recorded runs of the authors' code."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo._encoders.build import build
from zoo._images.batch import ImageBatch
from zoo._training import dino, distil, schedules
from zoo._training.batches import Planned, ViewBatch
from zoo._training.settings import Settings

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
HEAD = {
    "mlp.0.": "mlp.0.",
    "mlp.2.": "mlp.2.",
    "mlp.4.": "mlp.4.",
    "last_layer.weight_g": "prototypes.length",
    "last_layer.weight_v": "prototypes.direction",
}
LOSSES = json.loads((GOLDEN / "dino-losses" / "losses.json").read_text())


@pytest.fixture(scope="module")
def recorded():
    return load_file(GOLDEN / "dino-losses" / "losses.safetensors")


def head_state(tensors, prefix):
    """Rename the parameters of a recorded head."""
    found = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            short = name.removeprefix(prefix)
            old = next(k for k in HEAD if short.startswith(k))
            found[HEAD[old] + short.removeprefix(old)] = tensor
    return found


@pytest.mark.parametrize("case", LOSSES["cases"], ids=lambda case: case["key"])
def test_loss_its_gradient_and_the_centre(case, recorded):
    here = {k.removeprefix(case["key"] + "."): v for k, v in recorded.items() if case["key"] in k}
    student = here["student"].requires_grad_(True)
    targets = dino.sharpened(here["teacher"], here["center_before"], case["teacher_temperature"])
    loss = dino.cross_entropy(student, targets, views=case["crops"])
    loss.backward()
    assert abs(float(loss.detach()) - case["loss_float64"]) < 2e-6
    assert (student.grad - here["grad_student"]).abs().max() < 1e-6
    moved = dino.moved_centre(here["center_before"], here["teacher"])
    assert (moved - here["center_after"]).abs().max() < 1e-6


@pytest.mark.parametrize("case", LOSSES["teacher_temperature"], ids=lambda c: str(c["epochs"]))
def test_teacher_temperature(case):
    found = [
        schedules.teacher_temperature(
            epoch, first=case["warmup"], final=case["final"], warmup=case["warmup_epochs"]
        )
        for epoch in range(case["epochs"])
    ]
    assert found == pytest.approx(case["values"], abs=1e-12)


@pytest.mark.parametrize("case", LOSSES["momentum"], ids=lambda case: str(case["base"]))
def test_momentum(case):
    used = case["used_at_update"]
    found = [schedules.momentum(n + 1, case["max_steps"], case["base"]) for n in range(len(used))]
    assert found == pytest.approx(used, abs=1e-12)


@pytest.mark.parametrize("case", LOSSES["lr"], ids=lambda case: str(case["warmup_steps"]))
def test_learning_rate(case):
    found = [
        schedules.learning_rate(
            step,
            case["max_steps"],
            peak=case["base_lr"],
            warmup=case["warmup_steps"],
            start=case["warmup_start_lr"],
            end=case["eta_min"],
        )
        for step in range(case["max_steps"] + 1)
    ]
    assert found == pytest.approx(case["lr_at_step"], abs=1e-12)


@pytest.mark.parametrize("kind", ["plain", "free"])
def test_head(kind, recorded):
    config = LOSSES[f"head_{kind}"]
    head = dino.Head(
        *(config[k] for k in ("in", "hidden", "bottleneck", "prototypes")),
        batch_norm=config["use_bn"],
        fixed_length=config["norm_last_layer"],
    )
    state = head_state(recorded, f"head.{kind}.param.")
    missing = head.load_state_dict(state, strict=False).missing_keys
    assert missing in ([], ["prototypes.length"])
    x = recorded[f"head.{kind}.x"].requires_grad_(True)
    y = head(x)
    assert (y - recorded[f"head.{kind}.y"]).abs().max() < 1e-6
    (y * torch.linspace(-1, 1, y.shape[1])).sum().backward()
    assert (x.grad - recorded[f"head.{kind}.grad_x"]).abs().max() < 1e-6
    gradients = head_state(recorded, f"head.{kind}.grad.")
    trained = {k: p.grad for k, p in head.named_parameters() if p.requires_grad}
    assert trained.keys() == gradients.keys()
    for name, wanted in gradients.items():
        assert torch.allclose(trained[name], wanted, rtol=1e-6, atol=1e-6 * wanted.abs().max()), (
            name
        )


def test_teacher_follows(recorded):
    student, teacher = torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        student.weight.copy_(recorded["ema.online.weight"])
        teacher.weight.copy_(recorded["ema.momentum.weight"])
    dino.follow(teacher, student, LOSSES["ema"]["tau"])
    assert (teacher.weight - recorded["ema.after.weight"]).abs().max() < 1e-7


def test_gradients_are_bounded_one_by_one(recorded):
    parameters = []
    for name in ("weight", "bias"):
        before = recorded[f"clip.before.{name}"]
        parameters.append(torch.nn.Parameter(torch.zeros_like(before)))
        parameters[-1].grad = before.clone()
    dino.clip_each(parameters, LOSSES["clip"]["threshold"])
    for name, parameter in zip(("weight", "bias"), parameters, strict=True):
        assert (parameter.grad - recorded[f"clip.after.{name}"]).abs().max() < 1e-6


def settings_of(config, batches):
    images = len(config["counts"][0])
    return Settings(
        **{k: config[v] for k, v in (("depth", "depth"), ("embed_dim", "dim"))},
        num_heads=config["heads"],
        hidden_dim=config["hidden"],
        patch_size=config["patch"],
        max_channels=config["maxc"],
        size=config["img"],
        small_crops=config.get("nsmall", 0),
        small_size=config.get("small", config["img"]),
        steps=config["epochs"] * batches,
        images=images,
        prototypes=config["pk"],
        head_hidden=config["ph"],
        head_bottleneck=config["pb"],
        batch_norm=False,
        fixed_length=config["nll"],
        first_teacher_temperature=0.04,
        teacher_temperature=0.07,
        temperature_epochs=config["wt"],
        momentum=config["tau"],
        optimiser=config["opt"],
        learning_rate=config["lr"] * 256 / images,
        warmup=config["warm"] / config["epochs"],
        first_rate=config["wlr"],
        weight_decay=config["wd"],
        decay_all=not config["exclude"],
        clip=float(config["clip"]),
        frozen_epochs=config["freeze"],
    )


def replayed(folder, **changes):
    """Train as a recorded run did; return it, ours, and what each step logged."""
    run = json.loads((folder / "run.json").read_text())
    tensors = load_file(folder / "run.safetensors")
    settings = replace(settings_of(run["config"], len(run["counts"])), **changes)
    spec = replace(
        zoo.plugin.get_spec("chadavit-untrained"),
        options=settings.architecture,
        embedding_size=settings.embed_dim,
    )
    ours = distil.Distillation(build(spec), settings)
    state = {
        k.removeprefix("init.backbone."): v for k, v in tensors.items() if "init.backbone." in k
    }
    for branch in (ours.student, ours.teacher):
        branch.network.load_state_dict(state)
        head = head_state(tensors, "init.head.")
        branch.head.load_state_dict(head)
    logged = []
    for step in range(settings.steps):
        epoch, place = divmod(step, len(run["counts"]))
        counts = torch.tensor(run["counts"][place])
        index = torch.cat([torch.arange(c) for c in counts.tolist()])

        def views(first, last, place=place, counts=counts, index=index):
            crops = [tensors[f"batch{place}.crop{j}"].float() / 255 for j in range(first, last)]
            copies = last - first
            return ImageBatch(
                torch.cat(crops), counts.repeat(copies), channel_index=index.repeat(copies)
            )

        members = tuple(range(len(counts)))
        small = views(2, 2 + settings.small_crops) if settings.small_crops else None
        batch = ViewBatch(Planned(step, epoch, members), members, views(0, 2), small)
        logged.append({**ours.step(batch), "centre": float(ours.centre.norm())})
    return run, tensors, ours, logged


RUNS = sorted(GOLDEN.glob("dino-tiny-*"))


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_whole_run(folder):
    run, tensors, ours, logged = replayed(folder)
    for found, wanted in zip(logged, run["steps"], strict=True):
        rate = wanted["lr"][0] if isinstance(wanted["lr"], list) else wanted["lr"]
        assert found["learning_rate"] == pytest.approx(rate, rel=1e-9)
        assert found["momentum"] == pytest.approx(wanted["tau"], abs=1e-12)
        assert found["teacher_temperature"] == pytest.approx(wanted["teacher_temperature"])
        assert abs(found["loss"] - wanted["loss"]) < 2e-5
        assert found["centre"] == pytest.approx(wanted["center_norm"], abs=1e-5)
    planes = tensors["probe.planes"].float() / 255
    probe = ImageBatch(planes, torch.tensor(run["probe_counts"]))
    for name, branch in (("student", ours.student), ("teacher", ours.teacher)):
        with torch.no_grad():
            found = branch.encoder.forward(probe).embedding
        assert (found - tensors[f"final.probe.{name}_cls"]).abs().max() < 1e-5


def test_the_log_is_bounded_by_ln_k():
    _, _, ours, logged = replayed(GOLDEN / "dino-tiny-sgd")
    for row in logged:
        assert 0 <= row["teacher_entropy"] <= row["entropy_of_mean"] + 1e-6 <= 1 + 2e-6
        assert row["loss_of_uniform"] == pytest.approx(
            row["loss"] / math.log(ours.settings.prototypes)
        )


def late_momentum(update, updates, base, right=schedules.momentum):
    return right(max(update - 1, 1), updates, base)


STEPS = itertools.count()


def temperature_by_step(epoch, *, first, final, warmup):
    return first + (final - first) * min(next(STEPS) / 3, 1)


def centre_before_use(teacher, centre, temperature, right=dino.sharpened):
    return right(teacher, dino.moved_centre(centre, teacher), temperature)


def clip_together(parameters, most):
    torch.nn.utils.clip_grad_norm_(parameters, most)


def without_small_crops(student, targets, *, views, right=dino.cross_entropy):
    return right(student[: len(targets)], targets, views=2)


@pytest.mark.parametrize(
    ("run", "module", "name", "mistake", "changes"),
    [
        ("adamw", schedules, "momentum", late_momentum, {}),
        ("adamw", schedules, "teacher_temperature", temperature_by_step, {}),
        ("adamw", dino, "sharpened", centre_before_use, {}),
        ("adamw", dino, "clip_each", clip_together, {}),
        ("multicrop", dino, "cross_entropy", without_small_crops, {}),
        ("adamw", None, "", None, {"clip": 0.0}),
        ("adamw", None, "", None, {"frozen_epochs": 0}),
        ("adamw", None, "", None, {"decay_all": False}),
        ("sgd", None, "", None, {"decay_all": True}),
        ("sgd", None, "", None, {"fixed_length": True}),
    ],
)
def test_a_mistake_is_noticed(monkeypatch, run, module, name, mistake, changes):
    """What replays exactly does so because it is right: each error moves losses or embeddings."""
    if module is not None:
        monkeypatch.setattr(module, name, mistake)
    recorded_run, tensors, ours, logged = replayed(GOLDEN / f"dino-tiny-{run}", **changes)
    losses = [
        abs(found["loss"] - wanted["loss"])
        for found, wanted in zip(logged, recorded_run["steps"], strict=True)
    ]
    probe = ImageBatch(
        tensors["probe.planes"].float() / 255, torch.tensor(recorded_run["probe_counts"])
    )
    with torch.no_grad():
        rows = ours.student.encoder.forward(probe).embedding
    moved = (rows - tensors["final.probe.student_cls"]).abs().max()
    assert max(losses) > 4e-5 or moved > 2e-5
