"""``xaiserve serve``: models and methods over HTTP, until stopped."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xaiserve.errors import InvalidInputError

if TYPE_CHECKING:
    from xaiserve.serve.config import ServiceConfig


@click.command(name="serve")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=SOURCE",
    help="A name and a folder, file, hub id, 'embedded' or package.module:factory; repeatable.",
)
@click.option(
    "--translator",
    "translators",
    multiple=True,
    metavar="NAME=DIR",
    help="Translator folder that makes the contrast pictures of the model NAME; repeatable.",
)
@click.option(
    "--contrast",
    "contrasts",
    multiple=True,
    metavar="NAME=SPEC",
    help="Instead: nearest:POOL, file:PAIRS, blur, inpaint or inpaint:MASKS; repeatable.",
)
@click.option("--port", type=int, help="TCP port [8000].")
@click.option("--host", help="Address to listen on; 0.0.0.0 is every network [127.0.0.1].")
@click.option("--keys", metavar="FILE", help="API keys that are asked for; see 'xaiserve keys'.")
@click.option("--device", help="Where the models of --model score [cpu].")
@click.option("--format", "file_format", help="onnx, safetensors or pt2, if there are several.")
@click.option("--trust-code", is_flag=True, help="Allow models whose loading runs code.")
@click.option("--replicas", type=int, default=1, show_default=True, help="Per model of --model.")
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML with all settings; options add to it.",
)
@click.option("--address", default="local", help="A running Ray cluster [a Ray of its own].")
def command(
    models: Sequence[str],
    *,
    address: str,
    **shared: Any,  # Any: click's values
) -> None:
    """Serve models and methods over HTTP until Ctrl-C.

    \b
    xaiserve serve --model mobilenet=DIR
    curl -F image=@photo.jpg "http://localhost:8000/v1/explain?model=mobilenet&method=multirex"
    """  # noqa: D301 -- \b is click's
    config = _config(models, **shared)

    from xaiserve.serve.config import prepare_logs

    prepare_logs(config.logs)
    from xaiserve.serve.running import start_service

    service = start_service(config, address=address, show_logs=True)
    try:
        with _stopping() as stopped:
            _tell(service.url, config)
            stopped.wait()
        click.echo("stopping; Ctrl-C again stops without waiting for requests", err=True)
    finally:
        service.stop()


def _config(
    models: Sequence[str],
    *,
    port: int | None,
    host: str | None,
    keys: str | None,
    file: Path | None,
    translators: Sequence[str] = (),
    contrasts: Sequence[str] = (),
    **shared: Any,  # Any: click's values
) -> "ServiceConfig":
    from xaiserve.serve.config import make_config, read_config

    if not (models or file):
        raise InvalidInputError("serve needs at least one --model NAME=SOURCE, or a --config")
    given = read_config(file) if file else {}
    named = dict(_named("model", text) for text in models)
    given["models"] = {**_part(given, "models"), **_settings(named, **shared)}
    _add(given["models"], "translator", translators)
    _add(given["models"], "contrast", contrasts)
    _complete(given["models"], named)
    if keys is not None:
        given["access"] = {**_part(given, "access"), "keys": keys}
    return make_config(given | {k: v for k, v in (("port", port), ("host", host)) if v is not None})


def _part(given: dict[str, Any], key: str) -> dict[str, Any]:  # Any: as in YAML
    """Return what a file says under ``key``, for options to add to."""
    part = given.get(key)
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise InvalidInputError(
            f"service configuration: {key} must be a mapping, got {part!r:.200}"
        )
    return part


def _named(option: str, text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise InvalidInputError(f"--{option} must be NAME=SOURCE, got {text!r}")
    return name, source


def _add(models: dict[str, Any], key: str, texts: Sequence[str]) -> None:
    """Add a setting to the models that ``NAME=VALUE`` texts name, those of a file included."""
    for text in texts:
        name, value = _named(key, text)
        if name not in models:
            known = ", ".join(models) or "none"
            raise InvalidInputError(f"--{key} must name a model, of {known}, got {name!r}")
        model = models[name]
        models[name] = ({"source": model} if isinstance(model, str) else model) | {key: value}


def _complete(models: dict[str, Any], named: Iterable[str]) -> None:
    """Give models of the command line what makes their contrast pictures when nobody says."""
    from xaiserve.contrasts.opening import settings_of_model

    for name in named:
        own = settings_of_model(models[name]["source"])
        if own is not None and not {"translator", "contrast"} & models[name].keys():
            # It draws seldom and shares the model's CPUs: a full cluster has room for it.
            models[name] |= {"translator": {"source": own.translator, "cpus": 0}}


def _settings(
    named: dict[str, str],
    *,
    device: str | None,
    file_format: str | None,
    trust_code: bool,
    replicas: int,
) -> dict[str, Any]:  # Any: as in YAML
    """Share the machine's CPUs among the replicas of all models, at least one each."""
    cpus = max(1, (os.cpu_count() or 1) // max(1, len(named) * replicas))
    return {
        name: {
            "source": source,
            "device": device or "cpu",
            "file_format": file_format,
            "trust_code": trust_code,
            "replicas": replicas,
            "cpus": cpus,
            "gpus": 1 if (device or "cpu").startswith("cuda") else 0,
        }
        for name, source in named.items()
    }


def _tell(url: str, config: "ServiceConfig") -> None:
    name = config.names[0]
    if config.is_open:
        click.echo(
            f"warning: whoever reaches port {config.port} of this machine can use the service; "
            "--keys FILE asks for API keys, 'xaiserve keys create' makes them",
            err=True,
        )
    key = "" if config.access.keys is None else '-H "Authorization: Bearer $KEY" '
    click.echo(f"serving {', '.join(config.names)} at {url} (interface: {url}/docs)", err=True)
    click.echo(
        f'curl {key}-F image=@photo.jpg "{url}/v1/explain?model={name}&method=multirex"', err=True
    )


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event; afterwards they mean again what they meant."""
    stopped = threading.Event()

    def note(*_: object) -> None:
        stopped.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
