"""``xaiserve status``: how far jobs have come."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from xaiserve.cli.addressing import address_option, job_server
from xaiserve.errors import NotFoundError, XaiServeError

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.dispatch.submission import SubmittedJob
    from xaiserve.pipelines.progress import Progress


@click.command(name="status")
@click.argument("job", required=False)
@click.option("--out", help="The output of a job: no cluster is asked.")
@address_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, job: str | None, out: str | None, address: str, as_json: bool) -> None:
    """Say how far JOB has come, or every job of the cluster."""
    if out is not None:
        progress = read_progress(out)
        click.echo(progress.to_json() if as_json else f"{out}  {progress}")
        return
    server = job_server(address)
    jobs = server.jobs() if job is None else [server.find(job)]
    if as_json:
        click.echo(json.dumps([_document(each) for each in jobs]))
        return
    for each in jobs:
        click.echo(_line(each))
    if not jobs:
        click.echo(f"no job has been submitted to {address}", err=True)


def read_progress(out: str) -> "Progress":
    """Read what a job last said in its output.

    Raises
    ------
    NotFoundError
        No job has begun there.
    """
    from xaiserve.pipelines import progress
    from xaiserve.storage.opening import open_store

    found = progress.read_progress(open_store(out))
    if found is None:
        raise NotFoundError(
            f"output {out} holds no job; one that was submitted and has not begun is known by its "
            "name alone"
        )
    return found


def _progress(job: "SubmittedJob") -> "Progress | str":
    try:
        return read_progress(job.out)
    except NotFoundError:
        return "not begun"
    except XaiServeError as error:  # the bucket may be closed to this machine: the state is known
        return str(error)


def _line(job: "SubmittedJob") -> str:
    told = [job.job_id, job.state, str(_progress(job)), job.out]
    if job.state == "FAILED":
        told.append(_reason(job.message))
    return "  ".join(told)


def _reason(message: str) -> str:
    """Pick the sentence that ended a job from the log that Ray sends along."""
    lines = message.strip().splitlines() or [""]
    own = (line for line in reversed(lines) if line.startswith("xaiserve: "))
    return next(own, lines[0]).removeprefix("xaiserve: ")


def _document(job: "SubmittedJob") -> dict[str, Any]:  # Any: JSON
    found = _progress(job)
    progress = None if isinstance(found, str) else json.loads(found.to_json())
    return dataclasses.asdict(job) | {"progress": progress}
