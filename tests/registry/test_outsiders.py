"""Records, names and imports of outside plugins: what is refused, named, kept apart."""

import os
import signal
import sys
import types
from pathlib import Path

import pytest
from zoo.registry import (
    DatasetSpec,
    Design,
    EncoderFamily,
    EncoderSpec,
    Preprocessing,
    Task,
    UnknownNameError,
    Weights,
    discover,
    hookimpl,
)
from zoo.registry.api import check_source
from zoo.registry.blame import culprit
from zoo.registry.discovery import BUILTINS

FIELDS = {"name": "x", "builder": "m:f", "summary": "s"}


class EntryPoint:
    """Stands in for an entry point of an installed distribution."""

    def __init__(self, name, load, module=""):
        self.name, self.module, self.load = name, module, load
        self.dist = types.SimpleNamespace(name=f"{name}-dist", version="1.2")


def plugin(*records, **more):
    made = types.SimpleNamespace(**more)
    hooks = {EncoderSpec: "zoo_encoders", EncoderFamily: "zoo_encoder_families"}
    for kind, hook in hooks.items():
        offered = [r for r in records if isinstance(r, kind)]

        setattr(made, hook, hookimpl(lambda given=offered: given))
    return made


def encoder(name, **fields):
    return EncoderSpec(**{**FIELDS, "name": name, **fields})


def find(*entries, builtins=(), **environ):
    return discover(builtins, list(entries), environ)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("untrained:resnet18/concat", "zoo.plugins.encoders"),
        ("timm:resnet18", "zoo.plugins.encoders"),
        ("mask-only:constant", "zoo.plugins.controls"),
        ("no-family:foo", "to no family of this plugin"),
        ("precomputed:foo", "to no family of this plugin"),
    ],
)
def test_a_name_with_a_scheme_belongs_to_the_family_that_owns_it(name, owner):
    thief = EntryPoint("thief", lambda: plugin(encoder(name), encoder("other")))
    found = find(thief, builtins=BUILTINS)
    (broken,) = found.broken
    assert broken.name == "thief"
    assert name in broken.cause
    assert owner in broken.cause
    assert not {name, "other"} & set(found.encoders)
    with pytest.raises(UnknownNameError, match=r"thief \(thief-dist 1\.2\)"):
        found.encoder("other")


def test_a_family_may_fix_names_of_its_own():
    family = EncoderFamily(scheme="mine", resolver="json:loads", summary="s")
    found = find(EntryPoint("a", lambda: plugin(family, encoder("mine:best"))))
    assert found.encoder("mine:best").name == "mine:best"
    assert not found.broken


def test_names_that_differ_in_case_only_clash():
    found = find(EntryPoint("a", lambda: plugin(encoder("Constant"))), builtins=BUILTINS)
    assert "'constant'" in found.broken[0].cause


def raising(error):
    def load():
        raise error

    return load


class Skipped(BaseException):
    """As test frameworks raise it."""


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), Skipped("no x"), GeneratorExit()]
)
def test_what_ends_a_program_sets_one_plugin_aside(error):
    fine = EntryPoint("fine", lambda: plugin(encoder("fine")))
    found = find(EntryPoint("bad", raising(error)), fine)
    assert list(found.encoders) == ["fine"]
    assert type(error).__name__ in found.broken[0].cause


def test_ctrl_c_is_still_the_users():
    def press():
        os.kill(os.getpid(), signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        find(EntryPoint("slow", press))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_prints_of_an_import_do_not_reach_the_output(capsys):
    def load():
        sys.stdout.write("welcome to my plugin\n")
        return plugin(encoder("x"))

    (report,) = find(EntryPoint("loud", load)).plugins
    assert capsys.readouterr().out == ""
    assert report.printed == "welcome to my plugin"
    assert report.cause is None


WRONG = {
    "weights": "model.safetensors",
    "preprocessing": {"crop": 64},
    "summary": None,
    "embedding_size": -4,
    "channels": 3,
    "options": {"net": object()},
    "trained_on": "IDR",
    "columns": "mean",
    "twin": 5,
    "licence": None,
    "citation": None,
    "builder": None,
    "reference": "nowhere",
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_field_is_named_when_it_is_given(field):
    with pytest.raises((TypeError, ValueError), match=field.replace("_", ".")):
        encoder("x", **{field: WRONG[field]})
    found = find(
        EntryPoint("bad", lambda: plugin(encoder("x", **{field: WRONG[field]}))),
        EntryPoint("fine", lambda: plugin(encoder("fine"))),
    )
    assert list(found.encoders) == ["fine"]
    assert (found.broken[0].distribution, field in found.broken[0].cause) == ("bad-dist", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding_size": "64"},
        {"embedding_size": True},
        {"channels": ("1", 3)},
        {"channels": (4, 1)},
        {"summary": "two\nlines"},
        {"summary": "\x1b[31mred"},
        {"name": "wsi.csv"},
        {"name": 7},
        {"trained_on": ("a", 3)},
    ],
)
def test_more_wrong_fields(wrong):
    with pytest.raises((TypeError, ValueError)):
        encoder(**{"name": "x", **wrong})


def test_a_path_may_be_a_text():
    assert Weights(path="~/model.safetensors").path == Path("~/model.safetensors")
    with pytest.raises(TypeError, match="path of weights"):
        Weights(path=3)


def test_records_of_families_and_datasets_are_checked_too():
    with pytest.raises(ValueError, match="'precomputed' is taken"):
        EncoderFamily(scheme="precomputed", resolver="m:f", summary="s")
    with pytest.raises(TypeError, match="examples of f:"):
        EncoderFamily(scheme="f", resolver="m:f", summary="s", examples="f:x")
    task = Task(kind="knn", target="l", title="t")
    design = Design(label="l", group="g", tasks=(task,))
    with pytest.raises(TypeError, match="notes of d"):
        DatasetSpec(name="d", builder="m:f", summary="s", design=design, notes="one")
    with pytest.raises(TypeError, match="design of d"):
        DatasetSpec(name="d", builder="m:f", summary="s", design=None)
    assert encoder("x", preprocessing=Preprocessing(), channels=[1, None]).channels == [1, None]


@pytest.mark.parametrize(
    ("version", "words"),
    [(2, "update microscopy-zoo"), (0, "update the plugin"), ("1", "a whole number")],
)
def test_the_version_of_the_interface_is_checked(version, words):
    made = plugin(encoder("x"), ZOO_API_VERSION=version)
    found = find(EntryPoint("other", lambda: made))
    assert words in found.broken[0].cause
    assert not found.encoders


def test_a_declared_version_is_checked_before_the_import(tmp_path, monkeypatch):
    package = tmp_path / "newer_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "records.py").write_text("ZOO_API_VERSION = 99\nraise RuntimeError('imported')\n")
    (tmp_path / "single_plugin.py").write_text("ZOO_API_VERSION: int = 1  # the first\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = find(EntryPoint("newer", raising(RuntimeError("imported")), "newer_plugin.records"))
    assert "version 99" in found.broken[0].cause
    for module in ("single_plugin", "no_such_plugin", "newer_plugin", "sys", ""):
        check_source(module)


def test_zoo_plugins_names_what_is_not_installed():
    found = find(EntryPoint("a", lambda: plugin(encoder("x"))), ZOO_PLUGINS="a,mylb")
    assert found.not_installed == ("mylb",)
    assert list(found.encoders) == ["x"]


def test_an_error_is_traced_to_the_plugin_that_raised_it(tmp_path, monkeypatch):
    (tmp_path / "raising_plugin.py").write_text("def f(x):\n    return x()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import raising_plugin

    record = encoder("x", builder="raising_plugin:f")
    found = find(EntryPoint("r", lambda: plugin(record), "raising_plugin"), builtins=BUILTINS)
    with pytest.raises(ZeroDivisionError) as caught:
        raising_plugin.f(lambda: 1 // 0)
    assert culprit(found.plugins, caught.value).name == "r"
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 // 0
    assert culprit(found.plugins, caught.value) is None


def test_a_hook_must_give_a_list():
    made = types.SimpleNamespace()

    @hookimpl
    def zoo_encoders():
        return None

    made.zoo_encoders = zoo_encoders
    found = find(EntryPoint("none", lambda: made))
    assert "zoo_encoders() returned NoneType, but must yield" in found.broken[0].cause
