"""``xaiserve submit``: run a dataset job here, or hand it to a running cluster."""

import json
import os
from typing import TYPE_CHECKING, Any, Final

import click

from xaiserve.cli.addressing import address_option
from xaiserve.cli.configuring import make_config
from xaiserve.cli.handing_over import hand_over
from xaiserve.cli.options import SEED, contrast_options, precision_option

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.pipelines.cluster import Placement
    from xaiserve.pipelines.config import JobConfig
    from xaiserve.pipelines.progress import Progress
    from xaiserve.pipelines.totals import Totals

KINDS: Final = ("explain", "pointing-game")
SOME_FAILED: Final = 1


@click.command(name="submit")
@click.argument("kind", type=click.Choice(KINDS))
@click.option(
    "--images",
    required=True,
    help="Picture, folder, s3:// prefix, manifest (csv, json, jsonl, parquet), COCO annotations.",
)
@click.option("--model", "named_model", required=True, metavar="NAME=DIR", help="Model and name.")
@click.option("--methods", required=True, metavar="A,B", help="Methods, separated by commas.")
@click.option("--out", required=True, help="Folder or s3://bucket/prefix for the rows.")
@click.option("--set", "settings", multiple=True, metavar="METHOD.KEY=VALUE", help="A parameter.")
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Where all randomness comes from."
)
@click.option("--limit", type=int, help="Only the first so many images.")
@click.option("--max-inputs", type=int, help="Model inputs that one explanation may cost.")
@click.option("--format", "model_format", help="onnx, safetensors or pt2, if there are several.")
@click.option("--trust-code", is_flag=True, help="Allow models whose loading runs code.")
@click.option("--device", default="cpu", show_default=True, help="Where the model scores.")
@precision_option
@contrast_options
@click.option("--translator-device", help="Where the translator draws [as --device].")
@click.option(
    "--scores", metavar="A,B", help="insertion, deletion: also score by them; either costs both."
)
@click.option("--tolerance-px", type=float, help="Pointing game: the disc's radius [15].")
@click.option("--images-root", help="Where a manifest's relative paths, or COCO's files, start.")
@click.option("--folder-labels", is_flag=True, help="A picture's folder is its label.")
@click.option("--tasks-per-part", type=int, help="Explanations that a worker publishes at once.")
@click.option("--max-error-share", type=float, help="Stop when more of the rows hold an error.")
@click.option("--retry-errors", is_flag=True, help="Do rows that hold an error again.")
@click.option("--workers", type=int, help="Processes with a model each [as the CPUs allow].")
@click.option("--threads", type=int, help="Threads per worker [as the CPUs allow].")
@click.option("--gpus", type=float, default=0.0, help="GPUs per worker.")
@click.option(
    "--translator-gpus", type=float, default=0.0, help="GPUs per worker for its translator besides."
)
@click.option("--dry-run", is_flag=True, help="Say what it would cost, from a few images.")
@click.option("--local", is_flag=True, help="Run here, in a Ray of its own (or RAY_ADDRESS).")
@address_option
@click.option("--upload", is_flag=True, help="Copy this machine's images to the output first.")
@click.option("--wait", is_flag=True, help="Follow the submitted job to its end.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:  # Any: click's values
    """Explain a data set, or play the pointing game on it.

    Rows go to Parquet files under --out; running the same job again goes on where it stopped. A
    manifest's column contrast names each image's own contrast picture.
    The images of a job on another machine's cluster must be in a bucket; its model is read there.
    """
    crew = {key: options.pop(key) for key in ("workers", "threads", "gpus", "translator_gpus")}
    flags = {key: options.pop(key) for key in ("local", "address", "upload", "wait", "as_json")}
    dry_run = options.pop("dry_run")
    config = make_config(**options)
    if dry_run:
        _estimate(config, crew, as_json=flags["as_json"])
        return
    if flags["local"]:
        ctx.exit(_run_here(config, crew, as_json=flags["as_json"]))
    ctx.exit(hand_over(config, crew, **{key: flags[key] for key in flags if key != "local"}))


def _estimate(config: "JobConfig", crew: dict[str, Any], *, as_json: bool) -> None:
    from xaiserve.pipelines import explain, pointing_game
    from xaiserve.pipelines.estimating import estimate

    if isinstance(config, pointing_game.Config):
        job = pointing_game.plan(config)
    else:
        assert isinstance(config, explain.Config)  # noqa: S101 -- there are two kinds
        job = explain.plan(config)
    found = estimate(job, _placement(crew))
    click.echo(json.dumps(found.to_json()) if as_json else found.render())


def _placement(crew: dict[str, Any]) -> "Placement":
    from xaiserve.pipelines.cluster import Placement

    return Placement(
        # Set inside a submitted job: then the cluster that runs it is the one to use.
        address=os.environ.get("RAY_ADDRESS"),  # noqa: TID251 -- the command line may
        cpus=len(os.sched_getaffinity(0)),
        **crew,
    )


def _run_here(config: "JobConfig", crew: dict[str, Any], *, as_json: bool) -> int:
    from xaiserve.pipelines import explain, pointing_game
    from xaiserve.serve.config import prepare_environment

    prepare_environment()
    placement = _placement(crew)
    if isinstance(config, pointing_game.Config):
        summary = pointing_game.run(config, placement, _tell)
    else:
        assert isinstance(config, explain.Config)  # noqa: S101 -- there are two kinds
        summary = explain.run(config, placement, _tell)
    text = "\n".join(filter(None, [summary.render(), _told(summary.totals)]))
    click.echo(json.dumps(summary.to_json()) if as_json else text)
    return SOME_FAILED if summary.totals.failed else 0


def _tell(progress: "Progress") -> None:
    click.echo(str(progress), err=True)


def _told(totals: "Totals") -> str:
    lines = [f"{totals.rows} rows in {totals.out}, {totals.failed} failed"]
    lines += [f"  {reason}" for reason in totals.reasons]
    if totals.failed > len(totals.reasons):
        lines.append("  ...; column error_text has them all")
    return "\n".join(lines)
