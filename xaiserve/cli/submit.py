"""``xaiserve submit``: run a dataset job here, or hand it to a running cluster."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from xaiserve.cli.options import (
    SEED,
    contrast_options,
    each_once,
    filled_settings,
    precision_option,
)
from xaiserve.errors import InvalidInputError

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.contrasts.opening import ContrastSettings
    from xaiserve.pipelines.cluster import Placement
    from xaiserve.pipelines.config import JobConfig
    from xaiserve.pipelines.progress import Progress
    from xaiserve.pipelines.totals import Totals

KINDS: Final = ("explain", "pointing-game")
ADDRESS: Final = "http://127.0.0.1:8265"
SOME_FAILED: Final = 1

_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


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
@click.option("--address", default=ADDRESS, show_default=True, help="The cluster's dashboard.")
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
    ctx.exit(_hand_over(config, crew, **{key: flags[key] for key in flags if key != "local"}))


def make_config(
    *, kind: str, named_model: str, methods: str, settings: Sequence[str], **rest: Any
) -> "JobConfig":
    """Turn the options of the command into a job's configuration.

    Raises
    ------
    InvalidInputError
        An option is wrong; the message names it.
    """
    from xaiserve.api import contrasts_for
    from xaiserve.contrasts.opening import settings_of
    from xaiserve.explainers.registry import make_explainer
    from xaiserve.pipelines import explain, pointing_game

    name, equals, source = named_model.partition("=")
    if not (name and equals and source):
        raise InvalidInputError(f"--model must be NAME=DIR, got {named_model!r}")
    names = _names(methods)
    tolerance = rest.pop("tolerance_px")
    told = settings_of(
        rest.pop("contrast", None),
        rest.pop("translator", None),
        each_once(rest.pop("contrast_options", ()), "--contrast-set"),
    )
    contrasts = contrasts_for([make_explainer(each) for each in names], told, source)
    given = rest | {
        "model": name,
        "model_source": _absolute(source),
        "methods": names,
        "options": filled_settings(settings, names),
        "scores": _names(rest.pop("scores", None) or ""),
        "images": _absolute(rest["images"]),
        "images_root": _absolute(rest["images_root"]) if rest.get("images_root") else None,
        **_placed(contrasts),
        "out": str(Path(rest["out"]).absolute()) if _is_path(rest["out"]) else rest["out"],
    }
    if kind == "pointing-game":
        wished = {} if tolerance is None else {"tolerance_px": tolerance}
        return pointing_game.Config(**given, **wished)
    if tolerance is not None:
        raise InvalidInputError(f"--tolerance-px is for pointing-game, got kind {kind}")
    return explain.Config(**given)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _placed(contrasts: "ContrastSettings | None") -> dict[str, Any]:
    """Return the job's fields, with a place that is absolute, for workers have other folders."""
    if contrasts is None:
        return {}
    placed = contrasts.at(_absolute(contrasts.place)) if contrasts.place else contrasts
    return {
        "contrast": placed.contrast,
        "translator": placed.translator,
        "contrast_options": dict(placed.options),
    }


def _is_path(address: str) -> bool:
    return "://" not in address


def _absolute(source: str) -> str:
    """Make a path that exists here absolute, for workers have other working folders."""
    return str(Path(source).absolute()) if _is_path(source) and Path(source).exists() else source


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


def _hand_over(
    config: "JobConfig",
    crew: dict[str, Any],
    *,
    address: str,
    upload: bool,
    wait: bool,
    as_json: bool,
) -> int:
    from xaiserve.dispatch.submission import JobServer

    server = JobServer(address)
    here = urlsplit(address).hostname in _HERE
    images = reachable_images(config, here=here, upload=upload)
    if upload:  # the rows are in a manifest with whole addresses now
        config = replace(config, images_root=None, folder_labels=False)
    python = sys.executable if here else "python"
    job_id = server.submit(entrypoint(python, config, crew, images), out=config.out)
    if as_json:
        click.echo(json.dumps({"job": job_id, "out": config.out, "address": address}))
    else:
        click.echo(job_id)
    if not wait:
        return 0
    for piece in server.follow(job_id):
        click.echo(piece, nl=False, err=True)
    return 0 if server.find(job_id).state == "SUCCEEDED" else SOME_FAILED


def reachable_images(config: "JobConfig", *, here: bool, upload: bool) -> str:
    """Return what the cluster shall read, which need not be this machine.

    Raises
    ------
    InvalidInputError
        Images or output are paths of this machine and the cluster is elsewhere.
    """
    from xaiserve.pipelines.uploading import upload as send
    from xaiserve.storage.images import expand
    from xaiserve.storage.opening import open_store

    if not here and _is_path(config.out):
        raise InvalidInputError(
            f"--out must be s3://bucket/prefix for a cluster on other machines, got {config.out}"
        )
    contrasts = config.contrasts
    if not here and contrasts and config.contrast and contrasts.place:
        _check_reachable("--contrast", contrasts.place)
    if upload:
        rows = expand(
            config.images,
            config.limit,
            root=config.images_root,
            folder_labels=config.folder_labels,
        )
        return send(rows, open_store(config.out))
    if not here and _is_path(config.images):
        raise InvalidInputError(
            f"--images {config.images} is a path of this machine, which the cluster cannot read; "
            "give an s3:// address, or --upload to copy the images to --out"
        )
    return config.images


def _check_reachable(option: str, place: str) -> None:
    if _is_path(place):
        raise InvalidInputError(
            f"{option} {place} is a path of this machine, which the cluster cannot read; give an "
            "s3:// address"
        )


def entrypoint(python: str, config: "JobConfig", crew: dict[str, Any], images: str) -> str:
    """Write the shell command that runs ``config`` on a cluster's head; see `arguments`."""
    return shlex.join([python, "-m", "xaiserve", *arguments(config, crew, images)])


def arguments(config: "JobConfig", crew: dict[str, Any], images: str) -> list[str]:
    """Write the command line that runs ``config`` in place, on a cluster's head."""
    options = {
        "--images": images,
        "--model": f"{config.model}={config.model_source}",
        "--methods": ",".join(config.methods),
        "--out": config.out,
        "--seed": config.seed,
        "--limit": config.limit,
        "--max-inputs": config.max_inputs,
        "--scores": ",".join(config.scores) or None,
        "--format": config.model_format,
        "--device": config.device,
        "--precision": config.precision,
        "--contrast": config.contrast,
        "--translator": config.translator,
        "--translator-device": config.translator_device,
        "--tolerance-px": getattr(config, "tolerance_px", None),
        "--images-root": config.images_root,
        "--tasks-per-part": config.tasks_per_part,
        "--max-error-share": config.max_error_share,
        **{f"--{name.replace('_', '-')}": value for name, value in crew.items()},
    }
    words = ["submit", config.kind, "--local"]
    for name, value in options.items():
        words += [] if value is None else [name, str(value)]
    for method, settings in config.options.items():
        for key, value in settings.items():
            words += ["--set", f"{method}.{key}={value}"]
    for key, value in config.contrast_options.items():
        words += ["--contrast-set", f"{key}={value}"]
    flags = {
        "--folder-labels": config.folder_labels,
        "--retry-errors": config.retry_errors,
        "--trust-code": config.trust_code,
    }
    return [*words, *(flag for flag, given in flags.items() if given)]
