"""Bodies that are JSON: read within a limit, and parsed without a chance to exhaust the process."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from xaiserve.errors import InvalidInputError, UnsupportedMediaError
from xaiserve.serve.config import sentence
from xaiserve.serve.incoming.uploads import limited

B = TypeVar("B", bound=BaseModel)


def json_request(
    kind: type[BaseModel],
    other: Mapping[str, Any] | None = None,  # Any: OpenAPI
) -> dict[str, Any]:
    """Describe a body that routes read themselves; ``other`` has further media types."""
    schema = kind.model_json_schema()
    content = {"application/json": {"schema": _inlined(schema, schema.pop("$defs", {}))}}
    return {"requestBody": {"required": True, "content": {**content, **(other or {})}}}


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:  # Any: JSON Schema
    """Put definitions where they are referred to: the document has no other place for them."""
    if isinstance(part, list):
        return [_inlined(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inlined(definitions[part["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(each, definitions) for key, each in part.items()}


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read a body of at most ``max_bytes``.

    Raises
    ------
    TooLargeError
        It is longer.
    UnsupportedMediaError
        It is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedMediaError(f"the body must not be compressed, got {encoding!r}")
    return b"".join([chunk async for chunk in limited(request, max_bytes, what="the body")])


async def parsed(data: bytes, kind: type[B]) -> B:
    """Read JSON as a body of that kind, on a thread.

    Raises
    ------
    InvalidInputError
        It is no JSON, nested too deeply, or lacks or breaks a field.
    """
    return await asyncio.to_thread(parse, data, kind)


def parse(data: bytes, kind: type[B]) -> B:
    """See `parsed`."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"] and first["type"] != "json_invalid":
            raise InvalidInputError("the body must be a JSON object") from error
        raise InvalidInputError(sentence(first)) from error
