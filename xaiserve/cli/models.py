"""``xaiserve models inspect``: what a model folder holds, and what would be used of it."""

import json
from collections.abc import Mapping
from typing import Any, Final

import click

LABELS_SHOWN: Final = 3
"""Of a list more than twice as long."""


@click.group(name="models")
def command() -> None:
    """Look into a model folder."""


@command.command(name="inspect")
@click.argument("source", metavar="DIR")
@click.option("--trust-code", is_flag=True, help="Allow a factory to run, to see what it makes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(source: str, *, trust_code: bool, as_json: bool) -> None:
    """Say what DIR (or a file, a hub id, 'embedded') holds: formats, specification, warnings.

    No code that came with the model runs unless --trust-code is given.
    """
    # Here, because it imports torch.
    from xaiserve.models.inspecting import inspect_model

    found = inspect_model(source, trust_code=trust_code)
    click.echo(json.dumps(found, indent=1) if as_json else _written(found))


def _written(found: Mapping[str, Any]) -> str:  # Any: JSON
    lines = [f"{key.replace('_', ' ') + ':':<20}{text}" for key, text in _facts(found)]
    lines += [f"warning: {warning}" for warning in found["warnings"]]
    return "\n".join(lines)


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        (key, found[key] or "-")
        for key in ("name", "folder", "digest", "scores_from", "gradients_from", "spec_from")
        if key in found
    ]
    facts += [(f"format {kind}", _format(one)) for kind, one in found["formats"].items()]
    if found["spec"] is not None:
        told = found["spec"] | {"rule": _rule(found["spec"]["rule"])}
        facts += [(key, _short(value)) for key, value in told.items()]
    return facts


def _rule(rule: Mapping[str, Any]) -> str:
    thresholds = _short(rule["thresholds"])
    return f"at least {thresholds}" if rule["thresholds"] else "the class that scores highest"


def _format(one: Mapping[str, Any]) -> str:
    files = ", ".join(f"{name} ({size:,} bytes)" for name, size in one["files"].items())
    return files if one["loadable"] else f"{files}; cannot be loaded"


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) > 2 * LABELS_SHOWN:
        return "; ".join(map(str, value[:LABELS_SHOWN])) + f"; ... ({len(value)})"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(part)}" for key, part in value.items())
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
