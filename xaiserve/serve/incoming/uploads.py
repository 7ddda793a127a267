"""The pictures in a request's body, with their size enforced while it arrives."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from xaiserve.errors import InvalidInputError, TooLargeError, UnsupportedMediaError
from xaiserve.serve.config import MULTIPART_BYTES
from xaiserve.serve.incoming.fetching import Fetcher
from xaiserve.serve.incoming.requests import Upload

FIELD: Final = "image"
CONTRAST: Final = "contrast"
URI: Final = "_uri"
"""Ends the name of a field that holds an address in place of a picture."""

_ABOUT: Final = {
    FIELD: "The picture.",
    CONTRAST: "The same picture as it would look in another class, for methods that compare with "
    "one: of its size, or of the model's input.",
}


def request_body(*fields: str) -> dict[str, Any]:  # Any: OpenAPI
    """Describe a body that may hold files in these form fields, of which the first must be."""
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        field: {"type": "string", "format": "binary", "description": _ABOUT[field]}
                        for field in fields
                    },
                    "additionalProperties": False,
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": [FIELD + URI],
                    "properties": {
                        field + URI: {
                            "type": "string",
                            "description": f"{_ABOUT[field]} As the address of one, in a place "
                            "that the service fetches from.",
                        }
                        for field in fields
                    },
                    "additionalProperties": False,
                }
            },
        },
    }


@dataclass(frozen=True, slots=True)
class Sent:
    """The pictures of one body."""

    image: Upload
    contrast: Upload | None = None


async def read_upload(
    request: Request,
    *,
    fetcher: Fetcher,
    max_bytes: int,
    value_range: tuple[float, float] | None,
    with_contrast: bool = False,
) -> Sent:
    """Read the picture: the form field ``image``, a body that is the picture itself or names it.

    Parameters
    ----------
    fetcher
        Fetches what a body names.
    max_bytes
        Of each picture.
    with_contrast
        Whether the body may have a second picture, in the field ``contrast``.

    Raises
    ------
    TooLargeError
        The body is over the limit; what is left of it is not read.
    UnsupportedMediaError
        The body is of another media type.
    InvalidInputError
        The form lacks the field, or holds something else as well; an address is not allowed.
    ArtifactNotFoundError, StoreUnavailableError
        Nothing is at an address, or it cannot be fetched.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    fields = (FIELD, CONTRAST) if with_contrast else (FIELD,)
    if kind == "multipart/form-data":
        found = await _from_form(request, max_bytes, fields)
    elif kind.startswith("image/"):
        found = {FIELD: (b"".join([chunk async for chunk in limited(request, max_bytes)]), "")}
    elif kind == "application/json":
        found = await _named(request, fetcher, max_bytes, fields)
    else:
        raise UnsupportedMediaError(
            f"the body must be multipart/form-data with a file in the field {FIELD!r}, a picture "
            f"of type image/*, or JSON with {FIELD}_uri, got {kind or 'no content type'!r}"
        )
    for field, (data, _) in found.items():
        if not data:
            raise InvalidInputError(f"{field} must not be empty, got 0 bytes")
        if len(data) > max_bytes:
            raise _too_large(max_bytes, field)
    uploads = {
        field: Upload(data=data, name=name, value_range=value_range)
        for field, (data, name) in found.items()
    }
    return Sent(uploads[FIELD], uploads.get(CONTRAST))


async def _from_form(
    request: Request, max_bytes: int, fields: tuple[str, ...]
) -> dict[str, tuple[bytes, str]]:
    stream = limited(request, len(fields) * max_bytes, beside=MULTIPART_BYTES)
    parser = MultiPartParser(request.headers, stream, max_files=len(fields), max_fields=0)
    try:
        return await _files_of(parser, fields)
    finally:
        # Starlette closes them after errors of its own, and not where a form breaks off.
        for file in parser._files_to_close_on_error:  # noqa: SLF001
            file.close()


async def _files_of(
    parser: MultiPartParser, fields: tuple[str, ...]
) -> dict[str, tuple[bytes, str]]:
    try:
        form = await parser.parse()
    except MultiPartException as error:
        known = " and perhaps one in the field ".join(map(repr, fields))
        raise InvalidInputError(
            f"the form must hold one file in the field {known} and nothing else (options go in "
            f"the query): {error.message}"
        ) from error
    found = {
        field: (await file.read(), file.filename or "")
        for field, file in form.multi_items()
        if isinstance(file, UploadFile)
    }
    if FIELD not in found or set(found) - {*fields} or len(found) < len(form.multi_items()):
        told = [field for field, _ in form.multi_items()]
        others = "".join(f" (and perhaps one in the field {each!r})" for each in fields[1:])
        raise InvalidInputError(
            f"the form must hold a file in the field {FIELD!r}{others}, got {told!r:.200}"
        )
    return found


async def _named(
    request: Request, fetcher: Fetcher, max_bytes: int, fields: tuple[str, ...]
) -> dict[str, tuple[bytes, str]]:
    """Fetch what a JSON object names, ``image_uri`` and perhaps ``contrast_uri``."""
    text = b"".join([chunk async for chunk in limited(request, MULTIPART_BYTES)])
    known = [f"{field}{URI}" for field in fields]
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the body is not JSON: {error}") from error
    whole = isinstance(given, dict) and known[0] in given and set(given) <= {*known}
    if not whole or not all(isinstance(uri, str) for uri in given.values()):
        others = "".join(f" (and perhaps {each})" for each in known[1:])
        raise InvalidInputError(f"the JSON object must hold the text {known[0]}{others} alone")
    return {
        key.removesuffix(URI): (
            await fetcher.fetch(uri, max_bytes=max_bytes),
            uri.partition("?")[0].rpartition("/")[2],
        )
        for key, uri in given.items()
    }


async def limited(
    request: Request, max_bytes: int, *, beside: int = 0, what: str = FIELD
) -> AsyncGenerator[bytes, None]:
    """Pass the body on while the pictures and what is beside them can be within the limit.

    Raises
    ------
    TooLargeError
        The body is over the limit, or says that it is; what is left of it is not read.
    """
    promised = request.headers.get("content-length", "")
    if promised.isdecimal() and int(promised) > max_bytes + beside:
        raise _too_large(max_bytes, what)
    seen = 0
    chunks: AsyncIterator[bytes] = request.stream()
    async for chunk in chunks:
        seen += len(chunk)
        if seen > max_bytes + beside:
            raise _too_large(max_bytes, what)
        yield chunk


def _too_large(max_bytes: int, field: str) -> TooLargeError:
    return TooLargeError(f"{field} must be at most {max_bytes} bytes")
