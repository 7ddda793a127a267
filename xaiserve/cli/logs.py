"""``xaiserve logs``: what a job has written."""

import click

from xaiserve.cli.submit import ADDRESS


@click.command(name="logs")
@click.argument("job")
@click.option("--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--address", default=ADDRESS, show_default=True, help="The cluster's dashboard.")
def command(*, job: str, follow: bool, address: str) -> None:
    """Print what JOB has written."""
    from xaiserve.dispatch.submission import JobServer

    server = JobServer(address)
    if not follow:
        click.echo(server.logs(job), nl=False)
        return
    for piece in server.follow(job):
        click.echo(piece, nl=False)
