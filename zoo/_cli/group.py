"""The command ``zoo`` and its error handling."""

import sys
from typing import Any

import click

from zoo.registry import ZooError, registry
from zoo.registry.blame import culprit


class Zoo(click.Group):
    """A group that prints errors as one sentence, unless --debug is set."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            sys.stderr.close()  # the reader has closed the pipe
            context.exit(1)
        except Exception as error:
            if context.params.get("debug"):
                raise
            known = isinstance(error, ZooError | ValueError | TypeError | OSError)
            what = str(error) if known else f"{type(error).__name__}: {error}"
            plugin = None if isinstance(error, ZooError) else culprit(registry().plugins, error)
            if plugin is not None:
                what = f"{type(error).__name__}: {error} (raised by the plugin {plugin}: "
                what += f"update or uninstall {plugin.distribution}; --debug shows where)"
            elif not known:
                what += " (this is a bug in zoo; --debug shows where)"
            click.secho(f"error: {what}", fg="red", err=True)
            context.exit(1)


WORDS = """\b
Words:
  encoder  a network, or measurements, that turn an image into a vector: its embedding
  control  a trivial encoder to compare with: noise, pixel statistics, an untrained network
  label    the column of biology that an embedding should predict
  group    the column of the independent unit (plate, well, patient), never split
  batch    the column of a nuisance: what was processed together
  chance   the mean score of the same embedding for permuted labels
  verdict  what the scores show: the encoder beats all controls, is no better than one of
           them, is worse, is at chance, or it is undecided
"""


@click.group(cls=Zoo, epilog=WORDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, envvar="ZOO_DEBUG", help="Show tracebacks.")
@click.version_option(package_name="microscopy-zoo", prog_name="zoo")
def main(debug: bool) -> None:
    """Microscopy image encoders for any number of channels, evaluated beside trivial controls."""
