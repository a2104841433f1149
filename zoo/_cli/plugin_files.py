"""The files of a new plugin package, as text."""

from importlib.metadata import version
from string import Template

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=64"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
description = "$what for microscopy-zoo"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["microscopy-zoo>=$zoo"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points.zoo]
$name = "$package.records"

[tool.setuptools.packages.find]
where = ["src"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["src"]
"""

_README = """\
# $name

$what for microscopy-zoo.

```
pip install -e .[test]
pytest
zoo list $name
$try
```

`src/$package/records.py` says what there is. It is imported for every listing, so it must stay
light: no torch, no NumPy. `src/$package/$module.py` holds the code. Change both, keep the tests
passing, state the licence and what to cite in the record, and raise the version with each release.
"""

_ENCODER_RECORDS = '''\
"""Records: what this package offers, without importing torch."""

from zoo import plugin

ZOO_API_VERSION = 1  # version of the plugin interface that this package is written for

ENCODER = plugin.EncoderSpec(
    name="$name",
    builder="$package.encoder:build",
    summary="Mean and standard deviation of the pixels, averaged over channels",
    embedding_size=2,
    channels=(1, None),
    licence="none needed",
)


@plugin.hookimpl
def zoo_encoders():
    """Yield the encoders with fixed names."""
    yield ENCODER
'''

_ENCODER = '''\
"""The encoder: from prepared images to embeddings."""

import torch
from zoo import plugin


class Encoder(plugin.Encoder):
    """Mean and standard deviation of each channel, averaged over the channels of an image."""

    outputs = frozenset({"channels"})

    def forward(self, batch, *, channels=False, tokens=False, layer=None):
        """Embed a batch of prepared images of one size."""
        planes = batch.planes.flatten(1).float()
        each = torch.stack([planes.mean(1), planes.std(1)], 1)  # one row for each channel
        images = [rows.mean(0) for rows in each.split(batch.counts.tolist())]
        return plugin.Features(torch.stack(images), batch.counts, each if channels else None)


def build(spec, *, weights, seed):
    """Build the encoder of a record; a network is filled with plugin.load_state here."""
    return Encoder(spec)
'''

_ENCODER_TEST = '''\
"""The encoder keeps the promises that microscopy-zoo makes to its users."""

from $package.records import ENCODER

import zoo.testing


@zoo.testing.encoder_checks(ENCODER)
def test_promises(check):
    check()
'''

_DATASET_RECORDS = '''\
"""Records: what this package offers, without importing NumPy."""

from zoo import plugin

ZOO_API_VERSION = 1  # version of the plugin interface that this package is written for

DATASET = plugin.DatasetSpec(
    name="$name",
    builder="$package.dataset:open_dataset",
    summary="Stripes of two widths on six plates",
    design=plugin.Design(
        label="width",
        group="plate",
        batch="plate",
        tasks=(plugin.Task(kind="separation", target="width", title="width"),),
    ),
    channels=(1, 1),
    licence="none needed",
)


@plugin.hookimpl
def zoo_datasets():
    """Yield the datasets."""
    yield DATASET
'''

_DATASET = '''\
"""The dataset: a table, and a function that reads the image of a row."""

import numpy as np
import pandas as pd
from zoo import plugin


def open_dataset(spec, *, path):
    """Open the dataset; path is the folder that a user gives, or None."""
    plates, fields = "ABCDEF", 8
    table = pd.DataFrame(
        {
            "width": np.tile([4, 8], len(plates) * fields // 2),
            "plate": np.repeat(list(plates), fields),
        }
    )

    def read(i):
        rng = np.random.default_rng(i)
        stripes = np.arange(64) // table["width"][i] % 2
        pixels = 50 * np.tile(stripes, (64, 1)) + rng.integers(0, 20, (64, 64))
        return plugin.Image(pixels[None].astype(np.uint8))

    return plugin.Dataset(spec.name, table, read, spec)
'''

_DATASET_TEST = '''\
"""The dataset has the columns of its design, reads the same images again, and can be evaluated."""

import numpy as np
import pytest
from $package.dataset import open_dataset
from $package.records import DATASET

import zoo


@pytest.fixture(scope="module")
def data():
    return open_dataset(DATASET, path=None)


def test_the_table_has_the_columns_of_the_design(data):
    assert set(DATASET.design.columns) <= set(data.metadata.columns)
    assert data.metadata[DATASET.design.group].nunique() > 1


def test_images_are_read_alike_each_time(data):
    low, high = DATASET.channels
    for i in range(len(data)):
        image = data[i]
        assert low <= len(image.pixels) <= high
        np.testing.assert_array_equal(image.pixels, data[i].pixels)


def test_it_can_be_evaluated(data):
    result = zoo.evaluate("pixel-statistics", data, controls=["constant"], cache=False)
    assert result.rows
'''


def files_of_encoder(name: str) -> dict[str, str]:
    """Return the files of a package with an encoder: place → text."""
    package = name.replace("-", "_")
    parts = {
        f"src/{package}/records.py": _ENCODER_RECORDS,
        f"src/{package}/encoder.py": _ENCODER,
        "tests/test_encoder.py": _ENCODER_TEST,
    }
    attempt = f"zoo evaluate {name} -d phantom"
    return _files(name, package, "An encoder", "encoder", attempt, parts)


def files_of_dataset(name: str) -> dict[str, str]:
    """Return the files of a package with a dataset: place → text."""
    package = name.replace("-", "_")
    parts = {
        f"src/{package}/records.py": _DATASET_RECORDS,
        f"src/{package}/dataset.py": _DATASET,
        "tests/test_dataset.py": _DATASET_TEST,
    }
    attempt = f"zoo evaluate pixel-statistics -d {name}"
    return _files(name, package, "A dataset", "dataset", attempt, parts)


def _files(
    name: str, package: str, what: str, module: str, attempt: str, parts: dict[str, str]
) -> dict[str, str]:
    known = {
        "name": name,
        "package": package,
        "what": what,
        "module": module,
        "try": attempt,
        "zoo": version("microscopy-zoo"),
    }
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"src/{package}/__init__.py": f'"""{what} for microscopy-zoo."""\n',
        **parts,
    }
    return {place: Template(text).substitute(known) for place, text in files.items()}
