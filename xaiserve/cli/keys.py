"""``xaiserve keys``: make, list and revoke the API keys of a service."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # the list of commands must not import pydantic
    from xaiserve.serve.access.keys import ApiKey

FILE = click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("keys.json"),
    show_default=True,
    help="The key file: digests only, and limits.",
)


@click.group(name="keys")
def command() -> None:
    """Make, list and revoke API keys.

    \b
    xaiserve keys create --name viewer --scope explain --rate 2
    xaiserve serve --model embedded=embedded --keys keys.json
    curl -H "Authorization: Bearer $KEY" ...
    """  # noqa: D301 -- \b is click's


@command.command(name="create")
@FILE
@click.option("--name", required=True, help="Whose it is; for people and logs.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["predict", "explain", "jobs"]),
    help="What it allows; repeatable [everything].",
)
@click.option("--rate", type=float, help="Requests per second [no limit].")
@click.option("--burst", type=int, help="Requests at once after a pause [a second's worth].")
@click.option("--concurrent", type=int, help="Requests in flight [no limit].")
@click.option("--days", type=click.IntRange(min=1), help="Days until it expires [never].")
def create(
    *,
    file: Path,
    name: str,
    scopes: Sequence[Any],  # Any: click's values, of `serve.access.keys.Scope`
    rate: float | None,
    burst: int | None,
    concurrent: int | None,
    days: int | None,
) -> None:
    """Make a key, print it (this once: only its digest is kept) and add it to the file."""
    from xaiserve.serve.access.keys import SCOPES, add_key, make_key, utc_now

    text, key = make_key(
        name,
        now=utc_now(),
        scopes=scopes or SCOPES,
        requests_per_s=rate,
        burst=burst,
        concurrent=concurrent,
        days=days,
    )
    add_key(file, key)
    click.echo(text)
    click.echo(f"key {key.id} ({name}) is in {file}; it is not shown again", err=True)


@command.command(name="list")
@FILE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, file: Path, as_json: bool) -> None:
    """List the keys: who has which, what it allows, whether it is usable."""
    from xaiserve.serve.access.keys import read_keys, utc_now

    keys, now = read_keys(file).keys, utc_now()
    if as_json:
        shown = [key.model_dump(mode="json", exclude={"sha256"}) for key in keys]
        click.echo(json.dumps(shown, indent=1))
        return
    for key in keys:
        click.echo(_line(key, usable=key.usable(now)))


@command.command(name="revoke")
@FILE
@click.argument("key")
def revoke(*, file: Path, key: str) -> None:
    """Revoke KEY, an id or a name; running services notice within seconds."""
    from xaiserve.serve.access.keys import revoke_key, utc_now

    revoked = revoke_key(file, key, utc_now())
    click.echo(f"key {revoked.id} ({revoked.name}) is revoked", err=True)


def _line(key: "ApiKey", *, usable: bool) -> str:
    state = "revoked" if key.revoked else "usable" if usable else "expired"
    limits = [
        f"{value:g} {word}"
        for value, word in ((key.requests_per_s, "requests/s"), (key.concurrent, "at a time"))
        if value is not None
    ]
    until = f"  until {key.expires:%Y-%m-%d}" if key.expires else ""
    return f"{key.id}  {state:<8}{key.name}  {','.join(key.scopes)}  {', '.join(limits)}{until}"
