"""``xaiserve logs``: what a job has written."""

import click

from xaiserve.cli.addressing import address_option, job_server


@click.command(name="logs")
@click.argument("job")
@click.option("--follow", is_flag=True, help="Go on until the job ends.")
@address_option
def command(*, job: str, follow: bool, address: str) -> None:
    """Print what JOB has written."""
    server = job_server(address)
    if not follow:
        click.echo(server.logs(job), nl=False)
        return
    for piece in server.follow(job):
        click.echo(piece, nl=False)
