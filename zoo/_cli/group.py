"""The command ``zoo``, and how it fails."""

import sys
from typing import Any

import click

from zoo.registry import ZooError


class Zoo(click.Group):
    """A group whose errors are one sentence and an exit status, unless --debug asks for more."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            sys.stderr.close()  # the reader went away: nobody is left to be told
            context.exit(1)
        except Exception as error:
            if context.params.get("debug"):
                raise
            known = isinstance(error, ZooError | ValueError | TypeError | OSError)
            what = str(error) if known else f"{type(error).__name__}: {error}"
            if not known:
                what += " (this is a bug of ours; --debug shows where)"
            click.secho(f"error: {what}", fg="red", err=True)
            context.exit(1)


@click.group(cls=Zoo, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, envvar="ZOO_DEBUG", help="Show tracebacks.")
@click.version_option(package_name="microscopy-zoo", prog_name="zoo")
def main(debug: bool) -> None:
    """Microscopy image encoders for any number of channels, judged beside trivial controls."""
