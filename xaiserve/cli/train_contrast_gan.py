"""``xaiserve train contrast-gan``: a GAN that redraws pictures of one class as the other."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from xaiserve.cli.options import SEED, Pair, Seconds, each_once

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.pipelines.gan_training import Config, Summary
    from xaiserve.pipelines.progress import Progress

_SHOWN: Final = 5


@click.command(name="contrast-gan")
@click.option(
    "--images",
    multiple=True,
    required=True,
    metavar="DIR",
    help="Folder or s3:// prefix of one class, named after it; give two.",
)
@click.option("--out", required=True, help="Folder or s3://bucket/prefix for the translator.")
@click.option(
    "--preset",
    type=click.Choice(["cpu", "paper"]),
    default="cpu",
    show_default=True,
    help="A reduced network, or the published one (256 x 256, for a GPU).",
)
@click.option("--epochs", type=int, help="Times that every picture is shown [as the preset].")
@click.option("--side", type=int, help="Side of the network's pictures [as the preset].")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Grey or RGB [grey].")
@click.option("--max-seconds", type=Seconds(), help="Stop after so much training, over all runs.")
@click.option("--set", "settings", type=Pair(), multiple=True, help="Another size or setting.")
@click.option("--classifier", metavar="DIR", help="Train against this classifier, too.")
@click.option("--trust-code", is_flag=True, help="Allow a classifier whose loading runs code.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything random.")
@click.option(
    "--checkpoint-s", type=Seconds(), default=60.0, show_default=True, help="Between checkpoints."
)
@click.option(
    "--sheet-s", type=Seconds(), default=300.0, show_default=True, help="Between sample sheets."
)
@click.option("--workers", type=int, help="Processes that share every batch [1].")
@click.option("--threads", type=int, help="Threads per worker [as the CPUs allow].")
@click.option("--gpu", is_flag=True, help="A GPU for every worker.")
@click.option("--address", help="A running Ray cluster [a Ray of its own].")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(**options: Any) -> None:  # Any: click's values
    """Train a DeScarGAN on two folders of pictures, whose names are the classes.

    Sample sheets, metrics and checkpoints go to --out/training; the same command goes on where a
    training stopped.

    \b
    xaiserve train contrast-gan --images data/healthy --images data/effusion --out gan
    """  # noqa: D301 -- \b is click's
    crew = {key: options.pop(key) for key in ("workers", "threads")}
    address, gpu, as_json = (options.pop(key) for key in ("address", "gpu", "as_json"))
    config = make_config(**options)

    from xaiserve.pipelines.cluster import Placement
    from xaiserve.pipelines.train_gan import run
    from xaiserve.serve.config import prepare_environment

    prepare_environment()
    placement = Placement(
        address=address or os.environ.get("RAY_ADDRESS"),  # noqa: TID251 -- the command line may
        cpus=len(os.sched_getaffinity(0)),
        gpus=1.0 if gpu else 0.0,
        **crew,
    )
    with contextlib.redirect_stdout(sys.stderr):  # where Ray says that a worker has died
        summary = run(config, placement, _tell)
    click.echo(json.dumps(summary.to_json()) if as_json else _told(summary))


def make_config(
    *,
    images: tuple[str, ...],
    out: str,
    settings: tuple[tuple[str, str], ...],
    epochs: int | None,
    side: int | None,
    channels: str | None,
    classifier: str | None,
    **rest: Any,  # Any: click's values
) -> "Config":
    """Turn the options of the command into a configuration.

    Raises
    ------
    InvalidInputError
        An option is wrong; the message names it.
    """
    from xaiserve.pipelines.gan_training import Config

    named = {"epochs": epochs, "side": side, "channels": channels}
    given = [*settings, *((key, str(value)) for key, value in named.items() if value is not None)]
    config = Config(
        images=tuple(_absolute(each) for each in images),
        out=out if "://" in out else str(Path(out).absolute()),
        settings=each_once(given),
        classifier=None if classifier is None else _absolute(classifier),
        **rest,
    )
    config.wanted()
    return config


def _absolute(source: str) -> str:
    """Make a path that exists here absolute, for workers have other working folders."""
    return str(Path(source).absolute()) if Path(source).exists() else source


def _tell(progress: "Progress") -> None:
    click.echo(str(progress), err=True)


def _told(summary: "Summary") -> str:
    figures = summary.figures
    minutes = summary.seconds / 60
    stopped = ", stopped by --max-seconds" if summary.ended == "seconds" else ""
    flips = f"{figures['flipped']:.1%} become the other class to the GAN's own class head"
    changes = f"{figures['other_change']:.4f}, {figures['own_change']:.4f} into the own class"
    lines = [
        f"{summary.out}: {summary.epochs:.1f} epochs in {minutes:.1f} minutes{stopped}",
        f"  of the pictures held out {flips}; mean change {changes}",
    ]
    if figures["guide_flipped"] is not None:
        lines.append(f"  and {figures['guide_flipped']:.1%} to the classifier that guided it")
    if summary.skipped:
        lines.append(f"  {len(summary.skipped)} files were skipped:")
        lines += [f"    {reason}" for reason in summary.skipped[:_SHOWN]]
    return "\n".join(lines)
