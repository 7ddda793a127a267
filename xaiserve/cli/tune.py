"""``xaiserve tune``: the parameters of a method that score best on a labelled sample."""

import contextlib
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from xaiserve.cli.configuring import make_config as make_sample
from xaiserve.cli.options import SEED, contrast_options, precision_option

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.pipelines.progress import Progress
    from xaiserve.pipelines.sweep import Config, Summary
    from xaiserve.pipelines.trying import Outcome

_SHOWN: Final = 10
_QUIET: Final = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}
"""Tune would keep a log of each trial, and print tables of its own."""


@click.command(name="tune")
@click.argument("method")
@click.option("--space", required=True, metavar="FILE", help="YAML or JSON: what is drawn.")
@click.option(
    "--objective",
    required=True,
    type=click.Choice(["pointing_game", "energy", "grid_pointing"]),
    help="What is made as high as can be.",
)
@click.option(
    "--images",
    required=True,
    help="Images with ground truth: manifest (csv, json, jsonl, parquet) or COCO annotations.",
)
@click.option("--model", "named_model", required=True, metavar="NAME=DIR", help="Model and name.")
@click.option("--out", required=True, help="Folder or s3://bucket/prefix for what is found.")
@click.option("--samples", type=int, default=20, show_default=True, help="Settings to draw.")
@click.option(
    "--scheduler",
    type=click.Choice(["asha", "none"]),
    default="asha",
    show_default=True,
    help="Stop trials early that are behind, or let all see every image.",
)
@click.option(
    "--within",
    type=float,
    default=0.0,
    show_default=True,
    help="Prefer the cheapest trial at most so far below the best.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Of every trial.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything random.")
@click.option("--limit", type=int, help="Only the first so many images.")
@click.option("--max-inputs", type=int, help="Model inputs that one explanation may cost.")
@click.option("--format", "model_format", help="onnx, safetensors or pt2, if there are several.")
@click.option("--trust-code", is_flag=True, help="Allow models whose loading runs code.")
@click.option("--device", default="cpu", show_default=True, help="Where the model scores.")
@precision_option
@contrast_options
@click.option("--translator-device", help="Where the translator draws [as --device].")
@click.option("--tolerance-px", type=float, help="Pointing game: the disc's radius [15].")
@click.option("--images-root", help="Where a manifest's relative paths, or COCO's files, start.")
@click.option("--workers", type=int, help="Trials at once [as the CPUs allow].")
@click.option("--threads", type=int, help="Threads per trial [as the CPUs allow].")
@click.option("--gpus", type=float, default=0.0, help="GPUs per trial.")
@click.option(
    "--translator-gpus", type=float, default=0.0, help="GPUs per trial for its translator besides."
)
@click.option("--address", help="A running Ray cluster [a Ray of its own].")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(**options: Any) -> None:  # Any: click's values
    """Search the parameters of METHOD on a labelled sample.

    FILE says per parameter what is drawn: {choice: [...]}, {uniform: [a, b]}, {loguniform: [a, b]},
    or {randint: [a, b]} with both ends. The first trial is the method as it is. An image without an
    explanation counts 0; equal scores are decided by model inputs.

    Into --out go trials.parquet, and best.json for '--set preset=FILE' of explain and submit. Its
    score is that of the images that chose it: score it on others. After a crash the same command
    goes on: trials that have ended are kept.

    \b
    echo 'cells: {choice: [4, 7, 14]}' > space.yaml
    xaiserve tune occlusion --space space.yaml --objective energy \\
        --images images/manifest.csv --model embedded=embedded --out out/tuned
    """  # noqa: D301 -- \b is click's
    crew = {key: options.pop(key) for key in ("workers", "threads", "gpus", "translator_gpus")}
    address, as_json = options.pop("address"), options.pop("as_json")
    config = make_config(**options)

    from xaiserve.pipelines.cluster import Placement
    from xaiserve.pipelines.tuning import run
    from xaiserve.serve.config import prepare_environment

    prepare_environment()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)  # noqa: TID251 -- the command line may
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it tells is in trials.parquet
    placement = Placement(
        address=address or os.environ.get("RAY_ADDRESS"),  # noqa: TID251 -- the command line may
        cpus=len(os.sched_getaffinity(0)),
        **crew,
    )
    with contextlib.redirect_stdout(sys.stderr):  # where Tune says what it does
        summary = run(config, placement, _tell)
    click.echo(json.dumps(summary.to_json()) if as_json else render(summary))


def make_config(
    *,
    method: str,
    space: str,
    objective: str,
    samples: int,
    scheduler: Any,  # one of two texts, as click has checked
    within: float,
    **rest: Any,  # Any: click's values
) -> "Config":
    """Turn the options of the command into a sweep's configuration.

    Raises
    ------
    InvalidInputError
        An option or the space is wrong; the message names it.
    """
    from xaiserve.pipelines import pointing_game
    from xaiserve.pipelines.space import read_space
    from xaiserve.pipelines.sweep import Config

    found = read_space(space, method)
    sample = make_sample(kind="pointing-game", methods=method, **rest)
    assert isinstance(sample, pointing_game.Config)  # noqa: S101 -- the kind above
    return Config(
        sample=sample,
        space=found,
        objective=objective,
        samples=samples,
        scheduler=scheduler,
        within=within,
    )


def _tell(progress: "Progress") -> None:
    click.echo(str(progress), err=True)


def render(summary: "Summary") -> str:
    """Lay out the best trials, where the sweep started, and how to use what was found."""
    done = [each for each in summary.outcomes if each.status == "done"]
    ranked = sorted(done, key=lambda each: (-each.value, each.found["model_inputs"]))[:_SHOWN]
    shown = [summary.best, *(each for each in ranked if each is not summary.best)]
    start = summary.outcomes[0]
    if start not in shown:
        shown.append(start)
    ends = {"stopped": "stopped early", "failed": "failed", "invalid": "do not go together"}
    counts = [
        f"{number} {words}"
        for status, words in ends.items()
        if (number := sum(each.status == status for each in summary.outcomes))
    ]
    return "\n".join(
        [
            f"{summary.objective} of {', '.join([f'{len(done)} trials', *counts])}; the best first",
            *(_line(each) for each in shown),
            f"'--set preset={summary.out}/best.json' takes the best; score it on other images",
        ]
    )


def _line(each: "Outcome") -> str:
    drawn = ", ".join(f"{name}={value}" for name, value in each.parameters.items())
    words = [f"  trial {each.number}: {drawn}"]
    if each.found:
        found = each.found
        interval = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
        words.append(f"{each.value:.3f}{interval}")
        words.append(f"{found['model_inputs'] / found['images']:.0f} model inputs per image")
    if each.status != "done":
        words.append(f"{each.status} after {each.found.get('images', 0)} images")
    if not each.number:
        words.append("where it started")
    return "  ".join(words)
