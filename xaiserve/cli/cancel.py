"""``xaiserve cancel``: end a running job."""

import time
from typing import TYPE_CHECKING, Final

import click

from xaiserve.cli.addressing import address_option, job_server
from xaiserve.cli.status import read_progress
from xaiserve.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.dispatch.submission import JobServer
    from xaiserve.pipelines.progress import Progress

_POLL_S: Final = 0.5


@click.command(name="cancel")
@click.argument("job", required=False)
@click.option("--out", help="The output of a job, wherever it runs.")
@address_option
@click.option("--wait-s", type=float, default=60.0, show_default=True, help="Until it has ended.")
def command(*, job: str | None, out: str | None, address: str, wait_s: float) -> None:
    """End JOB of a cluster, or the job whose rows are at --out.

    What is published stays, and the same submit command goes on from there.
    """
    if (job is None) == (out is None):
        raise InvalidInputError("cancel takes a job or --out, one of them")
    if out is not None:
        click.echo(f"{out}  {cancel_output(out, wait_s)}")
        return
    server = job_server(address)
    found = server.find(job or "")
    if not found.ended:
        try:
            cancel_output(found.out, wait_s)
        except NotFoundError:  # it has not begun yet
            server.stop(found.job_id)
        else:
            if not server.find(found.job_id).ended:
                server.stop(found.job_id)
    click.echo(f"{found.job_id}  {_last_state(server, found.job_id, wait_s)}")


def _last_state(server: "JobServer", job_id: str, wait_s: float) -> str:
    """Wait until the job has ended, for a server only notes that it shall; say what it is then."""
    until = time.monotonic() + wait_s
    while not (now := server.find(job_id)).ended and time.monotonic() < until:
        time.sleep(_POLL_S)
    return now.state


def cancel_output(out: str, wait_s: float) -> "Progress":
    """Ask the job at ``out`` to end, and wait until it has; return what it last said.

    Raises
    ------
    NotFoundError
        No job has begun there.
    """
    from xaiserve.dispatch.cancelling import ask_to_end
    from xaiserve.storage.opening import open_store

    if read_progress(out).runs:
        ask_to_end(open_store(out))
    until = time.monotonic() + wait_s
    while (now := read_progress(out)).runs and time.monotonic() < until:
        time.sleep(_POLL_S)
    return now
