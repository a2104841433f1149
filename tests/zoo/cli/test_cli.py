"""The command line as a user meets it."""

import json
import os
import subprocess
import sys
import textwrap
from importlib.metadata import metadata

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from click.testing import CliRunner
from loopback_hub import LoopbackHub
from safetensors.torch import load_file

import zoo
from zoo._cli import main
from zoo._cli.doctor import _EXTRAS


def run(*arguments, code=0):
    runner = CliRunner(env={"COLUMNS": "120"})  # whatever the width of a test runner
    result = runner.invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def in_process(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-P", "-m", "zoo", *map(str, arguments)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def images(tmp_path):
    """A table of three images of one to three channels."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for c in (1, 2, 3):
        pixels = rng.integers(0, 4000, (c, 64, 64), dtype=np.uint16)
        tifffile.imwrite(folder / f"{c}.tif", pixels, photometric="minisblack")
    table = pd.DataFrame({"image": ["1.tif", "2.tif", "3.tif"], "drug": ["a", "b", "c"]})
    table.to_csv(folder / "labels.csv", index=False)
    return folder


def test_list_shows_and_filters():
    everything = run("list").output
    for name in ("chadavit-idrcell100k", "chadavit-untrained", "untrained:…", "phantom"):
        assert name in everything
    assert "pixel-statistics" not in run("list", "chadavit").output
    assert "nothing matches" in run("list", "xyzzy", code=1).output


def test_info_shows_the_whole_record():
    text = run("info", "chadavit-idrcell100k").output
    for word in (
        "91a41123650ccff12f590364fec95d76af36cc93",
        "not stated",
        "CVPR 2024",
        "num_heads",
    ):
        assert word in text
    assert "dose of dose_rank" in run("info", "bbbc013").output
    assert "resolver" in run("info", "timm:").output


def test_a_misspelt_name_gets_the_nearest_and_no_traceback():
    done = in_process("info", "chadavit-untraned")
    assert done.returncode == 1
    assert done.stderr.startswith("error: No encoder is called 'chadavit-untraned'")
    assert "Did you mean 'chadavit-untrained'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback():
    done = in_process("--debug", "info", "chadavit-untraned")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_embed_a_folder_of_any_channel_counts(golden, images, tmp_path, suffix):
    out = tmp_path / f"profiles.{suffix}"
    text = run("embed", images, "--encoder", f"chadavit:{golden}", "--out", out).output
    assert "3 images, 32 features" in text
    read = pd.read_parquet if suffix == "parquet" else pd.read_csv
    profiles = read(out)
    metadata = ["image", "drug", "channel_count", "zoo_run"]
    assert list(profiles.columns[:5]) == [*(f"Metadata_{c}" for c in metadata), "embedding_0000"]
    assert profiles["Metadata_channel_count"].tolist() == [1, 2, 3]
    direct = zoo.load(f"chadavit:{golden}").encode(
        [zoo.read_image(images / f"{c}.tif").pixels for c in (1, 2, 3)]
    )
    np.testing.assert_allclose(profiles.iloc[:, 4:], direct.embedding.numpy(), atol=1e-5)


def test_embed_in_half_precision(golden, images, tmp_path):
    out = tmp_path / "profiles.csv"
    encoder = f"chadavit:{golden}"
    run("embed", images, "--encoder", encoder, "--out", out, "--dtype", "bfloat16")
    assert json.loads(out.with_suffix(".json").read_text())["dtype"] == "bfloat16"
    exact = zoo.load(encoder).encode(
        [zoo.read_image(images / f"{c}.tif").pixels for c in (1, 2, 3)]
    )
    found = pd.read_csv(out).iloc[:, 4:]
    np.testing.assert_allclose(found, exact.embedding.numpy(), atol=1e-2)
    assert (found.to_numpy() != exact.embedding.numpy()).any()


def test_embed_reports_a_bad_file_keeps_the_rest_and_fails(golden, images, tmp_path):
    whole = (images / "2.tif").read_bytes()
    (images / "2.tif").write_bytes(whole[: len(whole) // 3])
    (images / "3.tif").unlink()
    out = tmp_path / "profiles.parquet"
    result = run("embed", images, "--encoder", f"chadavit:{golden}", "--out", out, code=1)
    assert "1 images" in result.output
    assert "left out 2.tif" in result.output
    assert "left out 3.tif" in result.output
    assert "missing" in result.output
    assert pd.read_parquet(out)["Metadata_image"].tolist() == ["1.tif"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "nowhere", "-e", "constant", "-o", "x.csv"], "nowhere does not exist"),
        (["embed", ".", "-e", "constant", "-o", "x.npy"], "must end in .parquet, .csv or .h5ad"),
        (["evaluate", "constant", "-d", "phantm"], "Did you mean 'phantom'"),
        (["evaluate", "constant", "-d", "phantom", "--data", "."], "takes no path"),
        (["evaluate", "constant", "-d", "bbbc013", "--data", "."], "no images of BBBC013"),
        (["pull", "nothing-of-this-name"], "No encoder is called"),
        (["embed", ".", "-e", "chadavit-untrained", "--seed", "x", "-o", "x.csv"], "not a valid"),
    ],
)
def test_mistakes_get_one_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dark.png").write_bytes(b"")
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.slow
def test_evaluate_writes_page_and_table(tmp_path):
    name = "pixel-statistics"
    out = tmp_path / "report"
    text = run("evaluate", name, "-d", "phantom", "-c", "constant", "-o", out).output
    assert "Verdicts" in text
    assert "beats all controls in" in text
    assert (out / "index.html").is_file()
    assert set(pd.read_csv(out / "scores.csv")["encoder"]) == {name, "constant"}


def test_margins_are_metrics_with_numbers(tmp_path):
    table = tmp_path / "profiles.csv"
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(32, 3)), columns=["feature_0", "feature_1", "feature_2"])
    rows.insert(0, "Metadata_dose", np.tile(np.arange(4), 8))
    rows.insert(0, "Metadata_plate", np.repeat(list("ABCDEFGH"), 4))
    rows.to_csv(table, index=False)
    columns = ["--label", "dose", "--group", "plate"]
    asked = ["evaluate", table, *columns, "-o", tmp_path / "r"]
    refused = run(*asked, "--margin", "mAP", code=2)
    assert "'mAP' is not METRIC=NUMBER" in refused.output
    refused = run(*asked, "--margin", "map=0.1", code=1)
    assert "'map', but the metrics are" in refused.output
    run(*asked, "--margin", "mAP=0.02", "--margin", "R²=0.3", "--permutations", "19")
    found = pd.read_csv(tmp_path / "r" / "scores.csv").dropna(subset="outcome")
    margins = found.set_index("metric")["margin"]
    assert (margins["mAP across groups"], margins["R²"], margins["Spearman ρ"]) == (0.02, 0.3, 0.1)


@pytest.mark.slow
def test_evaluate_a_table_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for plate in "ABCD":
        for dose in (0, 1, 2):
            for channels in (1, 2):  # ragged, so that the controls must be those that take it
                name = f"{plate}{dose}{channels}.tif"
                pixels = rng.normal(20 + 40 * dose, 5, (channels, 48, 48)).clip(0, 255)
                tifffile.imwrite(tmp_path / name, pixels.astype(np.uint8), photometric="minisblack")
                rows.append((name, plate, dose))
    table = tmp_path / "plate.csv"
    pd.DataFrame(rows, columns=["image", "plate", "dose"]).to_csv(table, index=False)
    base = [
        "evaluate",
        "pixel-statistics-mean",
        "-d",
        table,
        "-c",
        "constant",
        "-o",
        tmp_path / "r",
    ]
    text = run(*base, "--label", "dose", "--group", "plate").output
    assert "beats all controls in" in text
    scores = pd.read_csv(tmp_path / "r" / "scores.csv")
    own = scores[scores["role"] == "subject"].set_index("metric")["score"]
    assert own["Spearman ρ"] > 0.9
    assert {"mAP across groups", "5-NN balanced accuracy", "linear probe balanced accuracy"} <= set(
        own.index
    )
    assert len(pd.read_parquet(tmp_path / "r" / "scores.parquet")) == len(scores)

    pair = ["compare", "pixel-statistics-mean", "object-density", "-d", table, "-c", "constant"]
    text = run(*pair, "--label", "dose", "--group", "plate", "-o", tmp_path / "c").output
    assert "pixel-statistics-mean is ahead of object-density in" in " ".join(text.split())
    compared = pd.read_csv(tmp_path / "c" / "comparison.csv").set_index("metric")
    assert compared.loc["Spearman ρ", "score_first"] == pytest.approx(own["Spearman ρ"])

    profiles = tmp_path / "profiles.csv"
    run("embed", table, "--encoder", "pixel-statistics-mean", "--out", profiles)
    text = run(
        *["evaluate", profiles, "--label", "dose", "--group", "plate", "-o", tmp_path / "p"]
    ).output
    assert "precomputed:" in text or "pixel-statistics-mean" in text
    assert "every control that sees images" in text
    again = pd.read_csv(tmp_path / "p" / "scores.csv")
    again = again[again["role"] == "subject"].set_index("metric")["score"]
    assert again["Spearman ρ"] == pytest.approx(own["Spearman ρ"])
    assert "name a dataset" in run("evaluate", "pixel-statistics-mean", code=2).output

    for arguments, message in (
        (["--label", "dose"], "--group"),
        (["--label", "dos", "--group", "plate"], "Did you mean 'dose'"),
    ):
        result = CliRunner().invoke(main, [str(a) for a in (*base, *arguments)])
        assert result.exit_code == 1
        assert message in result.output
    run("evaluate", "constant", "-d", "phantom", "--label", "dose", "-o", tmp_path / "named")


@pytest.mark.slow
def test_pull_verifies_and_load_works_without_a_network_afterwards(golden, tmp_path, monkeypatch):
    content = {f: (golden / f).read_bytes() for f in ("config.json", "model.safetensors")}
    with LoopbackHub({"org/tiny": content}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        name = f"chadavit:org/tiny@{hub.commit}"
        script = f"import zoo; zoo.load({name!r}); print('loaded')"
        environ = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
        done = in_process("pull", name, "--record", **environ)
        assert done.returncode == 0, done.stderr
        assert "sha256=" in done.stdout
        before = len(hub.requests)
        code = [sys.executable, "-P", "-c", script]
        done = subprocess.run(code, env={**os.environ, **environ}, capture_output=True, text=True)
        assert done.stdout == "loaded\n", done.stderr
        assert len(hub.requests) == before


@pytest.mark.slow
def test_weights_that_cannot_be_had_say_what_to_do(tmp_path):
    environ = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = in_process("embed", tmp_path, "-e", "chadavit-idrcell100k", "-o", "x.csv", **environ)
    assert done.returncode == 1
    (tmp_path / "a.png").write_bytes(b"")
    done = in_process("embed", tmp_path, "-e", "chadavit-idrcell100k", "-o", "x.csv", **environ)
    assert done.returncode == 1
    for word in ("chadavit-idrcell100k", "zoo pull", "weights=PATH", "'chadavit-untrained'"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_third_party_plugin_is_found_and_a_broken_one_set_aside(tmp_path):
    site = tmp_path / "site"
    for name, version, module, body in (
        ("good-encoders", "2.0", "good_encoders", GOOD),
        ("bad-encoders", "3.1", "bad_encoders", "import no_such_module\n"),
    ):
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[zoo]\n{module} = {module}\n")
        (site / f"{module}.py").write_text(textwrap.dedent(body))
    environ = {"PYTHONPATH": str(site), "ZOO_PLUGINS": "good_encoders,bad_encoders"}
    done = in_process("plugins", COLUMNS="200", **environ)
    assert done.returncode == 1
    assert "good-encoders 2.0" in done.stdout
    assert "No module named 'no_such_module'" in done.stdout
    assert "bad-encoders 3.1" in done.stdout
    listed = in_process("list", **environ)
    assert listed.returncode == 0
    assert "brightness" in listed.stdout
    assert "1 plugin(s) were set aside" in listed.stderr
    script = "from zoo.testing import check_encoder; check_encoder('brightness')"
    code = [sys.executable, "-P", "-c", script]
    done = subprocess.run(code, env={**os.environ, **environ}, capture_output=True, text=True)
    assert done.stdout.startswith("brightness: "), done.stderr
    assert "checks passed" in done.stdout
    done = in_process("list", **environ, ZOO_PLUGINS_STRICT="1")
    assert done.returncode == 1
    assert "bad_encoders" in done.stderr


GOOD = """
    import zoo

    @zoo.plugin.hookimpl
    def zoo_encoders():
        yield zoo.plugin.EncoderSpec(
            name="brightness",
            builder="good_encoders:build",
            summary="Mean of all pixels",
            embedding_size=1,
            role="control",
            control="statistics",
        )

    def build(spec, *, weights, seed):
        import torch

        class Brightness(zoo.Encoder):
            def forward(self, batch, *, channels=False, tokens=False, layer=None):
                rows = [planes.mean().reshape(1) for planes in batch.images()]
                return zoo.Features(torch.stack(rows), batch.counts)

        return Brightness(spec)
"""


def test_convert_makes_a_checkpoint_loadable(golden, tmp_path):
    state = load_file(golden / "model.safetensors")
    pickled = {"state_dict": {f"backbone.{k}": v for k, v in state.items()}, "epoch": 3}
    torch.save(pickled, tmp_path / "old.ckpt")
    (tmp_path / "config.json").write_text((golden / "config.json").read_text())
    out = tmp_path / "model.safetensors"
    assert f"{len(state)} tensors" in run("convert", tmp_path / "old.ckpt", out).output
    zoo.load(f"chadavit:{tmp_path}")
    assert "exists already" in in_process("convert", tmp_path / "old.ckpt", out).stderr


class Evil:
    def __reduce__(self):
        return (os.system, ("touch evil",))


def test_convert_never_runs_what_is_pickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    done = in_process("convert", tmp_path / "evil.ckpt", tmp_path / "out.safetensors")
    assert done.returncode == 1
    assert "without running code" in done.stderr
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_doctor_knows_every_extra():
    extras = set(metadata("microscopy-zoo").get_all("Provides-Extra"))
    assert {extra for extra, _ in _EXTRAS.values()} == extras - {"all", "bench", "dev", "docs"}


@pytest.mark.slow
def test_doctor_looks_at_everything():
    done = in_process("doctor", HF_ENDPOINT="http://127.0.0.1:9", COLUMNS="200")
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("torch", "timm", "pyarrow", "cache", "hub", "plugins"):
        assert part in done.stdout
    assert "zoo pull" in done.stdout


def test_the_demo_says_in_one_line_what_it_leaves_out(tmp_path, monkeypatch):
    evaluated = []
    monkeypatch.setattr(
        "zoo._cli.evaluation._evaluate", lambda e, *a, **k: evaluated.append((e.name, *a))
    )
    monkeypatch.setattr("zoo._cli.evaluation.is_reachable", lambda: False)
    text = run("demo", "--no-train", "--out", tmp_path).output
    assert evaluated == [("chadavit-untrained", "phantom", tmp_path)]
    assert text.count("\n") == 1
    assert text.startswith("chadavit-idrcell100k is left out")


@pytest.mark.parametrize("device", ["weird", "cuda:99", "mps"])
def test_a_device_that_is_not_there_is_said(device):
    with pytest.raises(ValueError, match="is not available"):
        zoo.load("constant", device=device)


@pytest.mark.slow
def test_units_in_brackets_are_no_markup(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for plate in "ABCDEF":
        for dose in (0, 1, 2):
            name = f"{plate}{dose}.tif"
            pixels = rng.integers(0, 50 + 50 * dose, (1, 32, 32), dtype=np.uint8)
            tifffile.imwrite(tmp_path / name, pixels, photometric="minisblack")
            rows.append((name, plate, dose))
    table = pd.DataFrame(rows, columns=["image", "plate", "dose [/uM]"])
    table.to_csv(tmp_path / "t.csv", index=False)
    base = ["evaluate", "pixel-statistics", "-d", tmp_path / "t.csv", "-c", "constant"]
    own = ["--label", "dose [/uM]", "--group", "plate", "-o", tmp_path / "r"]
    assert "dose [/uM]" in run(*base, *own).output


def test_output_that_cannot_be_written_is_noticed_before_the_work(tmp_path, images):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "folder.csv", tmp_path / "file" / "x.csv"):
        result = CliRunner().invoke(main, ["embed", str(images), "-e", "no-such", "-o", str(out)])
        assert result.exit_code == 1
        assert "No encoder" not in result.output


def test_version_and_help():
    assert zoo.__version__ in run("--version").output
    text = run("--help").output
    commands = ["list", "info", "plugins", "pull", "embed", "evaluate", "demo", "doctor", "convert"]
    commands += ["train", "predict", "push", "compare"]
    assert all(command in text for command in commands)


def test_provenance_is_inside_the_file(golden, images, tmp_path):
    import pyarrow.parquet as pq

    out = tmp_path / "p.parquet"
    run("embed", images, "--encoder", f"chadavit:{golden}", "--out", out, "--scaling", "instance")
    found = json.loads(pq.read_schema(out).metadata[b"zoo"])
    assert found["encoder"] == f"chadavit:{golden}"
    assert found["zoo"] == zoo.__version__
    assert len(found["weights_sha256"]) == 64
    assert found["preprocessing"].startswith("scaling instance")
