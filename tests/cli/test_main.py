"""The command group: what it imports, lists and ends with."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from xaiserve import errors
from xaiserve.cli import main
from xaiserve.cli.main import COMMANDS, Program, failure


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_importing_the_command_line_imports_neither_torch_nor_ray() -> None:
    code = "import sys, xaiserve.cli; print({'torch', 'ray', 'numpy'} & set(sys.modules))"
    assert python("-c", code).stdout.strip() == "set()"


def test_no_command_imports_torch_or_ray_before_it_runs() -> None:
    code = (
        "import sys; from importlib import import_module; from xaiserve.cli.main import COMMANDS\n"
        "for entry in COMMANDS.values(): import_module(entry.home.partition(':')[0])\n"
        "print({'torch', 'ray'} & set(sys.modules))"
    )
    assert python("-c", code).stdout.strip() == "set()"


def test_the_package_runs_as_a_module() -> None:
    done = python("-m", "xaiserve", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("xaiserve ")


def test_help_lists_every_command_with_its_line() -> None:
    shown = CliRunner().invoke(main, ["--help"]).stdout
    for name, entry in COMMANDS.items():
        assert name in shown
        assert entry.about in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists_and_explains_itself(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert f"xaiserve {name}" in shown.stdout.replace("main ", "xaiserve ")


def test_an_unknown_command_is_misuse() -> None:
    assert CliRunner().invoke(main, ["explane"]).exit_code == 2


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.InvalidInputError("seed must be ..."), 2),
        (errors.TooLargeError("image must be ..."), 2),
        (errors.NotFoundError("method 'x' does not exist"), 2),
        (errors.ConflictError("output holds another configuration"), 2),
        (errors.StoreUnavailableError("credentials are missing"), 2),
        (errors.ClassifierFaultError("model raised"), 1),
        (errors.QueryBudgetError("spent"), 1),
        (RuntimeError("a bug"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, exit_code: int) -> None:
    assert failure(error).exit_code == exit_code


class Raising(Program):
    """The group, with one command that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__("main", entries={}, params=main.params, callback=main.callback)
        self._error = error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        del ctx

        def fail() -> None:
            raise self._error

        return click.Command(cmd_name, callback=fail)


def test_an_error_is_one_sentence_on_stderr_without_a_traceback() -> None:
    ended = CliRunner().invoke(Raising(errors.InvalidInputError("seed must be even")), ["fail"])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == "xaiserve: seed must be even\n"


def test_an_unexpected_error_says_how_to_see_more() -> None:
    ended = CliRunner().invoke(Raising(KeyError("x")), ["fail"])
    assert ended.exit_code == 1
    assert ended.stderr == "xaiserve: unexpected KeyError: 'x' (--debug shows where)\n"


def test_debug_shows_the_traceback() -> None:
    bug = KeyError("x")
    ended = CliRunner().invoke(Raising(bug), ["--debug", "fail"])
    assert ended.exit_code == 1
    assert ended.exception is bug
