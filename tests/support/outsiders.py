"""Outside packages, laid into a folder as pip does, and commands run beside them."""

import os
import subprocess
import sys
import textwrap

ENCODER = """
    from zoo import plugin

    @plugin.hookimpl
    def zoo_encoders():
        yield plugin.EncoderSpec(
            name="{name}", builder="{module}:build", summary="Mean of all pixels", embedding_size=1
        )

    def build(spec, *, weights, seed):
        import torch

        class Brightness(plugin.Encoder):
            def forward(self, batch, *, channels=False, tokens=False, layer=None):
                rows = [planes.mean().reshape(1) for planes in batch.images()]
                return plugin.Features(torch.stack(rows), batch.counts)

        return Brightness(spec)
"""


def install(site, module, body, version="1.2", name=None):
    """Lay a distribution of one module, called as the module, into a folder."""
    dist = name or module.replace("_", "-")
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[zoo]\n{module} = {module}\n")
    (site / f"{module}.py").write_text(textwrap.dedent(body))


def python(site, code, *arguments, **environ):
    """Run Python with the outside packages of a folder and no others."""
    given = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "600", "OMP_NUM_THREADS": "1"}
    given.pop("ZOO_PLUGINS", None)
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env={**given, **environ},
        capture_output=True,
        text=True,
        timeout=300,
    )


def zoo(site, *arguments, **environ):
    """Run the command `zoo` beside the outside packages of a folder."""
    return python(site, "from zoo._cli import main; main()", *arguments, **environ)
