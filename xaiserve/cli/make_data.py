"""``xaiserve make-data``: generated pictures whose answer is known by construction."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click
from tqdm import tqdm

from xaiserve.cli.options import SEED

if TYPE_CHECKING:  # the list of commands must not import torch
    from xaiserve.data.making import AnyGenerator

F = TypeVar("F", bound=Callable[..., Any])


@click.group(name="make-data")
def command() -> None:
    """Generate pictures with a known answer, as a folder that jobs and trainings read."""


def _common(function: F) -> F:
    """Add what every kind of data set takes."""
    options = (
        click.option("--out", required=True, help="Folder or s3://bucket/prefix."),
        click.option("--count", type=click.IntRange(min=1), required=True, help="Samples to draw."),
        click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything."),
        click.option(
            "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command(name="synthetic-clear")
@_common
@click.option(
    "--preset",
    type=click.Choice(["archived", "script"]),
    default="archived",
    show_default=True,
    help="How frequent features are: 13 % of the pictures diseased, or 26 %.",
)
def synthetic_clear(*, seed: int, preset: Any, **rest: Any) -> None:  # Any: click's values
    """Draw CLEAR Image's set: ellipses, diseased by a rule over drawn features.

    Writes healthy/, diseased/, their twins without features under ideal/, masks/, manifest.csv and
    diseased.csv (for a pointing game: masks, features by grid squares, contrast pictures). The same
    command again makes what is missing.
    """
    from xaiserve.data.making import SyntheticClear

    _make(SyntheticClear(seed=seed, preset=preset), **rest)


@command.command(name="planted")
@_common
def planted(*, seed: int, **rest: Any) -> None:  # Any: click's values
    """Draw the embedded classifier's set: up to three lesions, each sufficient alone.

    Writes the same files as synthetic-clear.
    """
    from xaiserve.data.making import Planted

    _make(Planted(seed=seed), **rest)


def _make(generator: "AnyGenerator", *, out: str, count: int, workers: int, as_json: bool) -> None:
    from xaiserve.data.dataset import DISEASED, MANIFEST
    from xaiserve.data.making import make_dataset

    with tqdm(total=count, unit="sample", disable=None) as bar:
        made = make_dataset(generator, count, out, workers=workers, on_samples=bar.update)
    if as_json:
        click.echo(json.dumps({"out": out, **asdict(made)}))
        return
    click.echo(
        f"{made.pictures} pictures, {made.diseased} of them diseased, and their twins "
        f"({made.found} were there already)\nmanifests  {out}/{MANIFEST}, {out}/{DISEASED}"
    )
