"""Every public function has an example, and the examples of all public objects run as written."""

import doctest
import inspect

import numpy as np
import pytest
import zoo.kernels
import zoo.registry

import zoo
import zoo.testing

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# zoo.metrics has tests of its own.
MODULES = (zoo, zoo.plugin, zoo.registry, zoo.kernels, zoo.testing)
UNNEEDED = {"is_reachable"}  # its answer depends on the network
METHODS = {
    zoo.Embeddings: ("numpy", "to_frame", "to_anndata", "write"),
    zoo.Encoder: ("attention", "encode", "provenance", "to", "with_preprocessing"),
    zoo.Features: ("numpy",),
    zoo.ImageBatch: ("images", "part"),
    zoo.kernels.RaggedPlan: ("from_cu_seqlens", "from_lengths"),
    zoo.kernels.TokenLayout: ("from_counts",),
}
CLASSES = {*METHODS, zoo.Dataset, zoo.Image, zoo.Preprocessing, zoo.Result, zoo.Task}


def public():
    """Yield each public function and class once, with its name, and the main methods."""
    seen = set()
    for module in MODULES:
        for name in module.__all__:
            found = getattr(module, name)
            if (inspect.isfunction(found) or inspect.isclass(found)) and found not in seen:
                seen.add(found)
                yield f"{module.__name__}.{name}", found
    for owner, names in METHODS.items():
        for name in names:
            yield f"{owner.__name__}.{name}", getattr(owner, name)


PUBLIC = dict(public())
WITH_EXAMPLE = [name for name, found in PUBLIC.items() if ">>>" in (found.__doc__ or "")]


def test_every_function_and_main_method_has_an_example():
    needed = {
        name
        for name, found in PUBLIC.items()
        if (not inspect.isclass(found) or found in CLASSES) and found.__name__ not in UNNEEDED
    }
    assert len(needed) > 40
    assert needed - set(WITH_EXAMPLE) == set()


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_an_example_gives_what_it_shows(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(PUBLIC[name])
    test = doctest.DocTestParser().get_doctest(text, {"zoo": zoo, "np": np}, name, None, None)
    said = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    assert runner.run(test, out=said.append).failed == 0, "".join(said)
    assert not list(tmp_path.iterdir()), "an example writes into the working folder"
