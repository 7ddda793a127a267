"""A job for a running cluster: what it can reach, and the command line that it is given."""

import json
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from xaiserve.cli.addressing import job_server
from xaiserve.cli.configuring import is_path
from xaiserve.errors import InvalidInputError

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.pipelines.config import JobConfig

_FAILED: Final = 1
_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def hand_over(
    config: "JobConfig",
    crew: dict[str, Any],
    *,
    address: str,
    upload: bool,
    wait: bool,
    as_json: bool,
) -> int:
    """Submit a job to the cluster whose dashboard is at ``address``; return the exit code.

    Raises
    ------
    InvalidInputError
        No cluster answers, or it cannot read what the job names.
    """
    server = job_server(address)
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
    return 0 if server.find(job_id).state == "SUCCEEDED" else _FAILED


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

    if not here and is_path(config.out):
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
    if not here and is_path(config.images):
        raise InvalidInputError(
            f"--images {config.images} is a path of this machine, which the cluster cannot read; "
            "give an s3:// address, or --upload to copy the images to --out"
        )
    return config.images


def _check_reachable(option: str, place: str) -> None:
    if is_path(place):
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
