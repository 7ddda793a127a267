"""The OpenAPI page as one static document.

FastAPI's own page loads its scripts from a content network, which a closed site does not reach and
a strict one must not run. This one needs no script; ``/openapi.json`` serves the tools.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from jinja2 import Environment

_PAGE: Final = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ info.title }} {{ info.version }}: HTTP interface</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { background: #8881; padding: .6rem; overflow-x: auto }
table { border-collapse: collapse } td, th { text-align: left; padding: .15rem 1rem .15rem 0;
vertical-align: top } h2 { margin-top: 2.5rem; border-top: 1px solid #8884; padding-top: 1rem }
</style>
<h1>{{ info.title }} {{ info.version }}</h1>
<p>{{ info.summary }} Machine-readable: <a href="openapi.json"><code>openapi.json</code></a>;
the parameters of every method: <a href="v1/methods"><code>v1/methods</code></a>.</p>
<pre>curl -F image=@photo.jpg "http://HOST:PORT/v1/explain?model=NAME&amp;method=multirex"</pre>
{% for route in routes %}
<h2><code>{{ route.verb }} {{ route.path }}</code></h2>
<p>{{ route.about }}</p>
{% if route.parameters %}
<table>
<tr><th>parameter</th><th>values</th><th>default</th><th>meaning</th></tr>
{% for parameter in route.parameters %}
<tr><td><code>{{ parameter.name }}</code></td><td>{{ parameter.allowed }}</td>
<td>{{ parameter.default }}</td><td>{{ parameter.about }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% if route.body %}<p>Body: {{ route.body }}.</p>{% endif %}
<table>
{% for answer in route.answers %}
<tr><td><code>{{ answer.status }}</code></td><td>{{ answer.about }}</td>
<td>{% if answer.schema %}<a href="#{{ answer.schema }}">{{ answer.schema }}</a>{% endif %}</td>
</tr>
{% endfor %}
</table>
{% endfor %}
{% for name, schema in schemas.items() %}
<h2 id="{{ name }}"><code>{{ name }}</code></h2>
<p>{{ schema.description }}</p>
<pre>{{ schema.text }}</pre>
{% endfor %}
</html>
""")


def page(openapi: dict[str, Any]) -> str:  # Any: an OpenAPI document
    """Render an OpenAPI document as HTML."""
    schemas = {
        name: {
            "description": schema.get("description", ""),
            "text": json.dumps(schema.get("properties", schema), indent=1),
        }
        for name, schema in openapi["components"]["schemas"].items()
    }
    return _PAGE.render(info=openapi["info"], routes=list(_routes(openapi)), schemas=schemas)


def _routes(openapi: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, verbs in openapi["paths"].items():
        for verb, route in verbs.items():
            yield {
                "verb": verb.upper(),
                "path": path,
                "about": route.get("description", ""),
                "parameters": [_parameter(given) for given in route.get("parameters", ())],
                "body": " or ".join(route.get("requestBody", {}).get("content", ())),
                "answers": [_answer(*item) for item in route["responses"].items()],
            }


def _parameter(given: dict[str, Any]) -> dict[str, str]:
    schema = given["schema"]
    members = schema.get("anyOf", [schema])
    rules = {
        key: member[key]
        for member in members
        for key in ("enum", "minimum", "exclusiveMinimum", "maximum")
        if key in member
    }
    kind = next(member.get("type", "") for member in members)
    return {
        "name": given["name"],
        "allowed": ", ".join([kind, *(f"{key} {value}" for key, value in rules.items())]),
        "default": "required" if given["required"] else json.dumps(schema.get("default")),
        "about": given.get("description", ""),
    }


def _answer(status: str, answer: dict[str, Any]) -> dict[str, str]:
    content = answer.get("content", {}).get("application/json", {})
    reference = str(content.get("schema", {}).get("$ref", ""))
    return {
        "status": status,
        "about": answer["description"],
        "schema": reference.rpartition("/")[2],
    }
