"""The command group: commands by name, imported when used, and one exit code per kind of end.

Exit codes: 0 done; 1 failed, wholly or for some inputs; 2 misuse, which the caller can correct.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import click
from typing_extensions import override

from xaiserve.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StoreUnavailableError,
    XaiServeError,
)

FAILED: Final = 1
MISUSE: Final = 2

MISUSES: Final = (InvalidInputError, NotFoundError, ConflictError, StoreUnavailableError)
"""Errors that the caller corrects: a path, an option, a name, an output or credentials."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives and its line in the list; the list imports no command."""

    home: str
    about: str


COMMANDS: Final[Mapping[str, Entry]] = {
    "explain": Entry("xaiserve.cli.explain:command", "Explain photographs with one method."),
    "methods": Entry("xaiserve.cli.methods:command", "List the methods and their parameters."),
    "models": Entry("xaiserve.cli.models:command", "Look into a model folder."),
    "gallery": Entry("xaiserve.cli.gallery:command", "Draw every method on the same images."),
    "report": Entry("xaiserve.cli.report:command", "Write the HTML report of a finished job."),
    "serve": Entry("xaiserve.cli.serve:command", "Serve models and methods over HTTP."),
    "keys": Entry("xaiserve.cli.keys:command", "Make, list and revoke API keys of a service."),
    "submit": Entry("xaiserve.cli.submit:command", "Run a data set job on a cluster or here."),
    "tune": Entry("xaiserve.cli.tune:command", "Find the parameters of a method that score best."),
    "train": Entry("xaiserve.cli.train:command", "Train a model on labelled pictures."),
    "make-data": Entry("xaiserve.cli.make_data:command", "Generate pictures with a known answer."),
    "status": Entry("xaiserve.cli.status:command", "Say how far a job has come."),
    "doctor": Entry("xaiserve.cli.doctor:command", "Say what is wrong with a set-up."),
    "cancel": Entry("xaiserve.cli.cancel:command", "End a running job; it can be run again."),
    "results": Entry("xaiserve.cli.results:command", "Print rows of a job, or draw them."),
    "logs": Entry("xaiserve.cli.logs:command", "Print what a job has logged."),
}


class Failure(click.ClickException):
    """An end that is told in one sentence."""

    exit_code = FAILED

    @override
    def show(self, file: Any = None) -> None:
        click.echo(f"xaiserve: {self.message}", file=file, err=file is None)


class Misuse(Failure):
    """A failure that the caller can correct."""

    exit_code = MISUSE


class LazyGroup(click.Group):
    """A group that imports a command when it is called.

    Parameters
    ----------
    entries
        The commands by name.
    """

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries = entries

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.home.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.about) for name, entry in self._entries.items()])


class Program(LazyGroup):
    """The whole command line: it turns errors into sentences."""

    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params["debug"]:
                raise
            raise failure(error) from error


def failure(error: Exception) -> Failure:
    """Turn an error into the sentence and the exit code that it ends the command line with."""
    if isinstance(error, MISUSES):
        return Misuse(str(error))
    if isinstance(error, XaiServeError):
        return Failure(str(error))
    return Failure(f"unexpected {type(error).__name__}: {error} (--debug shows where)")


@click.group(
    cls=Program, entries=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="xaiserve", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback when something fails.")
def main(*, debug: bool) -> None:
    """Explain image classifiers: here, over HTTP, and as data set jobs on Ray.

    Exit codes: 0 done, 1 failed (for some inputs, too), 2 misuse.
    """
    # ``debug`` is read from the context where errors arrive: `LazyGroup.invoke`.
    del debug
