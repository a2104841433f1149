"""Every public docstring says what a reader needs, and its examples run."""

import doctest
import inspect
import re

import pytest

from zoo import metrics

FUNCTIONS = [name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))]
TYPES = [name for name in metrics.__all__ if inspect.isclass(getattr(metrics, name))]


def sections(text):
    """Text of each numpydoc section by its title; what stands before all is the summary."""
    parts = re.split(r"^(\w+)\n-+\n", inspect.cleandoc(text), flags=re.MULTILINE)
    return {"Summary": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_documents_every_parameter(name):
    function = getattr(metrics, name)
    found = sections(function.__doc__)
    assert {"Parameters", "Examples"} <= set(found)
    assert {"Returns", "Yields"} & set(found)
    heads = re.findall(r"^(\w[\w, ]*)$", found["Parameters"], flags=re.MULTILINE)
    named = [word.strip() for head in heads for word in head.split(",")]
    assert sorted(named) == sorted(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", TYPES)
def test_a_type_documents_every_field(name):
    found = sections(getattr(metrics, name).__doc__)
    heads = re.findall(r"^(\w[\w, ]*)$", found["Parameters"], flags=re.MULTILINE)
    named = [word.strip() for head in heads for word in head.split(",")]
    assert sorted(named) == sorted(inspect.signature(getattr(metrics, name)).parameters)


@pytest.mark.parametrize("name", [*FUNCTIONS, "Pairs"])
def test_examples_run_as_they_stand(name):
    text = getattr(metrics, name).__doc__
    assert "from zoo.metrics import" in text
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples
    said = []
    outcome = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert outcome.failed == 0, "".join(said)
