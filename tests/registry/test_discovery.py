"""Broken plugins are set aside by name, and everything else goes on."""

import sys
import types
from importlib import metadata

import pytest
from zoo.registry import (
    DatasetSpec,
    Design,
    EncoderFamily,
    EncoderSpec,
    PluginError,
    Task,
    UnknownNameError,
    discover,
    hookimpl,
)
from zoo.registry.discovery import BUILTINS


class Distribution:
    def __init__(self, name, version="1.2"):
        self.name, self.version = name, version


class EntryPoint:
    """Stands in for an entry point of an installed distribution."""

    def __init__(self, name, plugin, dist="some-plugin"):
        self.name, self.plugin, self.dist = name, plugin, Distribution(dist)

    def load(self):
        return self.plugin() if isinstance(self.plugin, types.FunctionType) else self.plugin


def encoder(name):
    return EncoderSpec(name=name, builder="json:loads", summary="s")


def plugin(*records, hook="zoo_encoders", mark=hookimpl):
    made = types.ModuleType("some_plugin")

    def implementation():
        return list(records)

    implementation.__name__ = hook
    setattr(made, hook, mark(implementation))
    return made


def find(*entry_points, builtins=(), **environ):
    return discover(builtins, list(entry_points), environ)


def raising(error):
    def load():
        raise error

    return load


def hook_raising(error):
    made = types.ModuleType("some_plugin")

    @hookimpl
    def zoo_encoders():
        raise error

    made.zoo_encoders = zoo_encoders
    return made


def with_argument():
    made = types.ModuleType("some_plugin")

    @hookimpl
    def zoo_encoders(colour):
        return [colour]

    made.zoo_encoders = zoo_encoders
    return made


BROKEN = {
    "import fails": (raising(ImportError("no module named frobnicate")), "frobnicate"),
    "import exits": (raising(SystemExit(3)), "SystemExit: 3"),
    "hook raises": (hook_raising(RuntimeError("boom")), "RuntimeError: boom"),
    "hook misspelt": (plugin(encoder("x"), hook="zoo_encodres"), "zoo_encodres"),
    "hook unmarked": (plugin(encoder("x"), mark=lambda f: f), "lacks the @zoo.plugin.hookimpl"),
    "wrong argument": (with_argument(), "colour"),
    "wrong record": (plugin("chadavit"), "not EncoderSpec"),
    "name twice": (plugin(encoder("x"), encoder("x")), "'x' twice"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_set_aside_by_name_and_the_rest_goes_on(case):
    broken, cause = BROKEN[case]
    found = find(
        EntryPoint("bad", broken, dist="bad-dist"), EntryPoint("good", plugin(encoder("fine")))
    )
    assert list(found.encoders) == ["fine"]
    (report,) = found.broken
    assert (report.name, report.distribution, report.version) == ("bad", "bad-dist", "1.2")
    assert cause in report.cause


@pytest.mark.parametrize("case", BROKEN)
def test_strict_mode_turns_it_into_an_error(case):
    with pytest.raises(PluginError, match="bad"):
        find(EntryPoint("bad", BROKEN[case][0]), ZOO_PLUGINS_STRICT="1")


def test_outsiders_who_clash_are_both_set_aside_whatever_their_order():
    a = EntryPoint("a", plugin(encoder("x"), encoder("only-a")), dist="dist-a")
    b = EntryPoint("b", plugin(encoder("x")), dist="dist-b")
    for order in ((a, b), (b, a)):
        found = find(*order)
        assert not found.encoders
        causes = {r.name: r.cause for r in found.broken}
        assert "dist-b" in causes["a"]
        assert "dist-a" in causes["b"]
        with pytest.raises(UnknownNameError, match=r"set aside.*'x'"):
            found.encoder("only-a")


def test_a_built_in_keeps_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "own_plugin", plugin(encoder("x")))
    found = find(EntryPoint("thief", plugin(encoder("x"))), builtins=["own_plugin"])
    assert [r.name for r in found.broken] == ["thief"]
    assert found.origin(found.encoder("x")).name == "own_plugin"


def test_a_family_scheme_clashes_too():
    family = EncoderFamily(scheme="timm", resolver="json:loads", summary="s")
    made = plugin(family, hook="zoo_encoder_families")
    found = find(
        EntryPoint("a", made), EntryPoint("b", plugin(family, hook="zoo_encoder_families"))
    )
    assert len(found.broken) == 2


def test_entry_points_of_one_name_from_two_distributions_both_count():
    found = find(
        EntryPoint("main", plugin(encoder("a")), dist="one"),
        EntryPoint("main", plugin(encoder("b")), dist="two"),
    )
    assert sorted(found.encoders) == ["a", "b"]


@pytest.mark.parametrize(("value", "kept"), [("a", ["a"]), ("a, b", ["a", "b"]), ("", [])])
def test_the_environment_narrows_outsiders(value, kept):
    entries = [EntryPoint(n, plugin(encoder(n))) for n in ("a", "b", "c")]
    assert list(find(*entries, ZOO_PLUGINS=value).encoders) == kept


def test_unknown_names_get_the_nearest_known_ones():
    found = find(EntryPoint("a", plugin(encoder("chadavit-untrained"))))
    with pytest.raises(UnknownNameError, match="Did you mean 'chadavit-untrained'"):
        found.encoder("chadavit-untraned")
    with pytest.raises(UnknownNameError, match="No dataset is called 'x'"):
        found.dataset("x")


def test_a_family_must_answer_with_the_record_that_was_asked_for(monkeypatch):
    resolver = types.ModuleType("resolver")
    resolver.resolve = lambda rest: encoder("other")
    monkeypatch.setitem(sys.modules, "resolver", resolver)
    family = EncoderFamily(scheme="f", resolver="resolver:resolve", summary="s")
    found = find(EntryPoint("a", plugin(family, hook="zoo_encoder_families")))
    with pytest.raises(PluginError, match="f:x"):
        found.encoder("f:x")
    with pytest.raises(UnknownNameError, match="needs a name after the colon"):
        found.encoder("f:")


def test_datasets_are_found_and_torch_at_listing_is_noticed(monkeypatch):
    data = DatasetSpec(
        name="d",
        builder="m:f",
        summary="s",
        design=Design(
            label="l",
            group="g",
            tasks=(Task(kind="knn", target="l", title="t"),),
        ),
    )
    monkeypatch.setitem(sys.modules, "torch", None)  # so that what is put there is taken away
    del sys.modules["torch"]

    def load():
        sys.modules["torch"] = types.ModuleType("torch")
        return plugin(data, hook="zoo_datasets")

    found = find(EntryPoint("slow", load))
    assert found.dataset("d") is data
    assert found.plugins[0].imported_torch


def test_the_built_in_plugins_are_sound_and_none_clashes():
    found = discover(BUILTINS, [], {})
    assert [f"{p}: {p.cause}" for p in found.broken] == []
    assert {"chadavit-idrcell100k", "chadavit-untrained"} <= set(found.encoders)
    assert {"bbbc013", "phantom"} <= set(found.datasets)


def test_installed_entry_points_are_read_from_the_group():
    assert {e.group for e in metadata.entry_points(group="zoo")} <= {"zoo"}
    assert discover((), None, {"ZOO_PLUGINS": ""}).plugins == []
