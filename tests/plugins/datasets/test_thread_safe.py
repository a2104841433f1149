"""The data sets of zoo can be read by several threads at once, for one thread keeps no GPU busy."""

import ast
from pathlib import Path

import pytest
import zoo.plugins.datasets

FOLDER = Path(zoo.plugins.datasets.__file__).parent
OPENED = {
    path.stem: tree
    for path in sorted(FOLDER.glob("*.py"))
    if "plugin.Dataset(" in ast.unparse(tree := ast.parse(path.read_text(encoding="utf-8")))
}


def readers(tree):
    """What is given to `plugin.Dataset` as the function that reads, as code."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "plugin.Dataset":
            yield ast.unparse(call.args[2])


def marked(tree):
    """Names of functions that `plugin.thread_safe` marks."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and "plugin.thread_safe" in map(ast.unparse, node.decorator_list)
    }


def test_there_are_data_sets():
    assert {"bbbc013", "idrcell100k", "medmnist"} <= set(OPENED)


@pytest.mark.parametrize("name", OPENED)
def test_readers_are_marked(name):
    tree = OPENED[name]
    for reader in readers(tree):
        assert (
            reader == "None" or reader.startswith("plugin.thread_safe(") or reader in marked(tree)
        )
