"""The picture in a request's body, with its size enforced while it arrives."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from xaiserve.errors import InvalidInputError, TooLargeError, UnsupportedMediaError
from xaiserve.serve.config import MULTIPART_BYTES
from xaiserve.serve.requests import Upload

FIELD: Final = "image"

REQUEST_BODY: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {
                    FIELD: {"type": "string", "format": "binary", "description": "The picture."}
                },
                "additionalProperties": False,
            }
        },
        "image/*": {"schema": {"type": "string", "format": "binary"}},
    },
}
"""The body as OpenAPI describes it."""


async def read_upload(
    request: Request, *, max_bytes: int, value_range: tuple[float, float] | None
) -> Upload:
    """Read the picture: the form field ``image``, or a body that is the picture itself.

    Raises
    ------
    TooLargeError
        The body is over the limit; what is left of it is not read.
    UnsupportedMediaError
        The body is of another media type.
    InvalidInputError
        The form lacks the field, or holds something else as well.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        data, name = await _from_form(request, max_bytes)
    elif kind.startswith("image/"):
        data, name = b"".join([chunk async for chunk in _limited(request, max_bytes)]), ""
    else:
        raise UnsupportedMediaError(
            f"the body must be multipart/form-data with a file in the field {FIELD!r}, or a "
            f"picture of type image/*, got {kind or 'no content type'!r}"
        )
    if not data:
        raise InvalidInputError(f"{FIELD} must not be empty, got 0 bytes")
    return Upload(data=data, name=name, value_range=value_range)


async def _from_form(request: Request, max_bytes: int) -> tuple[bytes, str]:
    stream = _limited(request, max_bytes, beside=MULTIPART_BYTES)
    parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=0)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidInputError(
            f"the form must hold one file in the field {FIELD!r} and nothing else (options go in "
            f"the query): {error.message}"
        ) from error
    try:
        found = form.get(FIELD)
        if not isinstance(found, UploadFile):
            raise InvalidInputError(
                f"the form must hold a file in the field {FIELD!r}, got {list(form)}"
            )
        data = await found.read()
    finally:
        await form.close()
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data, found.filename or ""


async def _limited(
    request: Request, max_bytes: int, *, beside: int = 0
) -> AsyncGenerator[bytes, None]:
    """Pass the body on while the picture and what is beside it can be within the limit."""
    promised = request.headers.get("content-length", "")
    if promised.isdecimal() and int(promised) > max_bytes + beside:
        raise _too_large(max_bytes)
    seen = 0
    chunks: AsyncIterator[bytes] = request.stream()
    async for chunk in chunks:
        seen += len(chunk)
        if seen > max_bytes + beside:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> TooLargeError:
    return TooLargeError(f"{FIELD} must be at most {max_bytes} bytes")
