"""``xaiserve doctor``: what is wrong with a set-up, and what to do about it."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.cli.checks.finding import Check, Finding

FAILED: Final = 1


@click.command(name="doctor")
@click.option("--model", "source", metavar="DIR", help="Load it and score pictures.")
@click.option("--device", default="cpu", show_default=True, help="Where the model scores.")
@click.option("--format", "file_format", help="onnx, safetensors or pt2, if there are several.")
@click.option("--trust-code", is_flag=True, help="Allow models whose loading runs code.")
@click.option("--out", help="Folder or s3://bucket/prefix: write, list and remove a probe.")
@click.option("--address", help="Dashboard of a Ray cluster, such as http://127.0.0.1:8265.")
@click.option("--url", help="A service that runs, such as http://localhost:8000.")
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML of 'xaiserve serve --config' or of 'serve deploy'.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="A port that should be free.")
@click.option("--local", is_flag=True, help="Start a Ray here, run a task and end it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool, **asked: Any) -> None:  # Any: click's values
    """Check this machine and what the options name, and say what to do about what is wrong.

    \b
    xaiserve doctor
    xaiserve doctor --model DIR --device cuda --out s3://bucket/out --address http://HOST:8265

    Exit codes: 0 nothing failed (warnings may be told), 1 something did.
    """  # noqa: D301 -- \b is click's
    from xaiserve.cli.checks.finding import look

    found = []
    for name, check in checks(**asked):
        found.append(look(name, check))
        if not as_json:
            click.echo(_line(found[-1]))
    failed = sum(each.state == "failed" for each in found)
    if as_json:
        document = {"ok": not failed, "checks": [dataclasses.asdict(each) for each in found]}
        click.echo(json.dumps(document, indent=1))
    else:
        click.echo(_total(found))
    if failed:
        raise click.exceptions.Exit(FAILED)


def checks(
    *,
    source: str | None,
    device: str,
    file_format: str | None,
    trust_code: bool,
    out: str | None,
    address: str | None,
    url: str | None,
    file: Path | None,
    port: int | None,
    local: bool,
) -> "Iterator[tuple[str, Check]]":
    """Name what is to be looked at; modules that need much are imported when one is run."""
    from xaiserve.cli.checks import machine, parts, places, software

    yield "python", software.python
    yield "packages", software.packages
    yield "cuda", software.cuda
    yield "cpus", machine.cpus
    yield "memory", machine.memory
    yield "shared memory", machine.shared_memory
    yield "temporary files", machine.temporary
    if local:
        yield "ray", parts.local_ray
    if port is not None:
        yield "port", partial(machine.port, "127.0.0.1", port)
    if file is not None:
        yield "config", partial(parts.configuration, file)
    if source is not None:
        loading = {"device": device, "file_format": file_format, "trust_code": trust_code}
        yield "model", partial(parts.model, source, **loading)
    if out is not None:
        yield "store", partial(places.store, out)
    if address is not None:
        yield "cluster", partial(places.cluster, address)
    if url is not None:
        yield "service", partial(places.service, url)


def _line(found: "Finding") -> str:
    line = f"{found.state:<8} {found.name:<16} {found.told}"
    return f"{line}\n{'':<25} {found.todo}" if found.todo else line


def _total(found: "Sequence[Finding]") -> str:
    counts = {state: sum(each.state == state for each in found) for state in ("warning", "failed")}
    told = [f"{count} {state}" for state, count in counts.items() if count]
    return f"{len(found)} checks: {', '.join(told) or 'all well'}"
