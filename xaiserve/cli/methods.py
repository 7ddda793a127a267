"""``xaiserve methods``: what can be explained with, and every parameter of it."""

import json
import textwrap
from typing import Any, Final

import click

_WIDTH: Final = 96


@click.command(name="methods")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str | None, *, as_json: bool) -> None:
    """List the methods, or with NAME every parameter: default, range and source."""
    # Here, because it imports torch.
    from xaiserve.explainers.registry import EXPLAINERS

    if name is None:
        found = [_described(known) for known in EXPLAINERS]
        click.echo(json.dumps(found, indent=1) if as_json else _table(found))
    else:
        one = _described(name)
        click.echo(json.dumps(one, indent=1) if as_json else _page(one))


def _described(name: str) -> dict[str, Any]:  # Any: JSON
    from xaiserve.explainers.registry import explainer_class, presets_of
    from xaiserve.parameters import parameters_of

    owner = explainer_class(name)
    return {
        "name": owner.name,
        "version": owner.version,
        "about": _first_line(owner),
        "needs_gradients": hasattr(owner, "attribute"),
        "presets": {preset: dict(values) for preset, values in presets_of(owner).items()},
        "parameters": [
            {
                "name": parameter.name,
                "default": parameter.default,
                "allowed": parameter.allowed,
                "about": parameter.about.replace("``", ""),
                "source": parameter.source,
            }
            for parameter in parameters_of(owner)
        ],
    }


def _first_line(owner: type) -> str:
    return (owner.__doc__ or "").strip().partition("\n")[0].replace("``", "")


def _table(found: list[dict[str, Any]]) -> str:
    width = max(len(one["name"]) for one in found)
    lines = [
        f"{one['name']:<{width}}  {one['about']}{' Needs gradients.' * one['needs_gradients']}"
        for one in found
    ]
    return "\n".join([*lines, "", "'xaiserve methods NAME' lists the parameters of one."])


def _page(one: dict[str, Any]) -> str:
    needs = "It needs a model with gradients." if one["needs_gradients"] else ""
    head = textwrap.fill(f"{one['about']} {needs}".strip(), _WIDTH)
    parts = [f"{one['name']}, version {one['version']}", head]
    parts += [_preset(name, values) for name, values in one["presets"].items()]
    parts += [_parameter(parameter) for parameter in one["parameters"]]
    return "\n\n".join(parts)


def _preset(name: str, values: dict[str, Any]) -> str:
    told = ", ".join(f"{key}={_value(value)}" for key, value in values.items())
    text = f"preset={name} stands for {told}"
    return textwrap.fill(text, _WIDTH, subsequent_indent="    ")


def _value(value: object) -> str:
    """Write a value as ``--set`` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _parameter(given: dict[str, Any]) -> str:
    facts = [
        ("default", _value(given["default"])),
        ("range", given["allowed"]),
        ("source", given["source"]),
    ]
    about = textwrap.indent(textwrap.fill(given["about"], _WIDTH - 4), "    ")
    return "\n".join(
        [given["name"], about, *(f"    {key + ':':<9}{text}" for key, text in facts if text != "")]
    )
