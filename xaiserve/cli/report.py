"""``xaiserve report``: the HTML page of a finished job."""

from pathlib import Path

import click

from xaiserve.errors import InvalidInputError


@click.command(name="report")
@click.argument("output", metavar="OUT")
@click.option(
    "--out",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of this machine; _report.html beside the rows by default.",
)
def command(output: str, page: Path | None) -> None:
    """Write the page of the finished job whose rows are at OUT, a folder or s3:// prefix.

    It shows scores with intervals, the number of explanations per image, and the best and the
    worst cases with pictures.
    """
    # Here, because they import torch.
    from xaiserve.pipelines.reporting import REPORT, job_report, write_report
    from xaiserve.report.job import job_page
    from xaiserve.storage.opening import open_store

    store = open_store(output)
    if page is None:
        write_report(store)
        click.echo(f"wrote {store.uri.rstrip('/')}/{REPORT}")
        return
    try:
        page.write_text(job_page(job_report(store)), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"--out {page} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {page}")
