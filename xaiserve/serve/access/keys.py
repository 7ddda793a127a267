"""API keys: the file that holds their digests, and what makes, finds and revokes them.

A key is 256 random bits of ours, so that one SHA-256 is enough at rest: a slow hash protects what
people choose and others guess, and would cost every request its time.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, ValidationError

from xaiserve.errors import ConflictError, InvalidInputError, NotFoundError
from xaiserve.serve.settings import Settings

Scope = Literal["predict", "explain", "jobs"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""What a key may allow; reading about models and methods comes with any key."""

PREFIX: Final = "xai"
"""First part of every key, by which scanners of repositories find one that has leaked."""

_SECRET_BYTES: Final = 32


class ApiKey(Settings):
    """One key as it is kept: without its secret.

    Limits are those of the whole service; no limit when none.
    """

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...] = SCOPES
    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    burst: Annotated[int, Field(ge=1)] | None = None
    """Requests that may come at once after a pause; a second's worth when none."""

    concurrent: Annotated[int, Field(ge=1)] | None = None
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def usable(self, now: datetime) -> bool:
        """Say whether it still opens anything."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def matches(self, text: str) -> bool:
        """Compare with a key that was sent, in constant time."""
        return hmac.compare_digest(self.sha256, _digest(text))


class KeyFile(Settings):
    """The file."""

    keys: tuple[ApiKey, ...] = ()

    def find(self, text: str, now: datetime) -> ApiKey | None:
        """Return the usable key that this text is, if there is one."""
        sent = key_id(text)
        for key in self.keys:
            if key.id == sent and key.matches(text):
                return key if key.usable(now) else None
        return None


def key_id(text: str) -> str:
    """Read the public part of a key."""
    return text.removeprefix(f"{PREFIX}_").partition("_")[0]


def make_key(
    name: str,
    *,
    now: datetime,
    scopes: Sequence[Scope] = SCOPES,
    requests_per_s: float | None = None,
    burst: int | None = None,
    concurrent: int | None = None,
    days: int | None = None,
) -> tuple[str, ApiKey]:
    """Make a key; returns its text, which exists only here, and what is kept of it.

    Raises
    ------
    InvalidInputError
        The name is empty or a limit out of range.
    """
    number = secrets.token_hex(6)
    text = f"{PREFIX}_{number}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    try:
        key = ApiKey(
            id=number,
            name=name,
            sha256=_digest(text),
            scopes=tuple(scopes),
            requests_per_s=requests_per_s,
            burst=burst,
            concurrent=concurrent,
            created=now,
            expires=None if days is None else now + timedelta(days=days),
        )
    except ValidationError as error:
        raise InvalidInputError(f"key: {_first(error)}") from error
    return text, key


def read_keys(path: Path) -> KeyFile:
    """Read the file.

    Raises
    ------
    NotFoundError
        There is none.
    InvalidInputError
        It cannot be read, or is something else.
    """
    try:
        return KeyFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(
            f"key file {path} does not exist; 'xaiserve keys create' makes it"
        ) from None
    except OSError as error:
        raise InvalidInputError(f"key file {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise InvalidInputError(f"key file {path}: {_first(error)}") from error


def add_key(path: Path, key: ApiKey) -> None:
    """Add a key to the file, which is made if there is none.

    Raises
    ------
    ConflictError
        A usable key has that name.
    """
    held = read_keys(path).keys if path.exists() else ()
    if any(other.name == key.name and other.usable(key.created) for other in held):
        raise ConflictError(f"a key named {key.name!r} exists in {path}; revoke it first")
    _write(path, (*held, key))


def revoke_key(path: Path, word: str, now: datetime) -> ApiKey:
    """Revoke the usable key of this id or name; services notice within seconds.

    Raises
    ------
    NotFoundError
        There is none.
    """
    held = read_keys(path).keys
    for key in held:
        if word in {key.id, key.name} and key.usable(now):
            revoked = key.model_copy(update={"revoked": now})
            _write(path, (revoked if other is key else other for other in held))
            return revoked
    raise NotFoundError(f"no usable key {word!r} in {path}; 'xaiserve keys list' shows them")


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, keys: Iterable[ApiKey]) -> None:
    """Replace the file whole: a service may be reading it."""
    text = KeyFile(keys=tuple(keys)).model_dump_json(indent=1, exclude_none=True)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".keys-", dir=path.absolute().parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        Path(temporary).replace(path)
    except OSError as error:
        raise InvalidInputError(f"key file {path} cannot be written: {error.strerror}") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    return f"{field or 'contents'}: {first['msg'][:1].lower()}{first['msg'][1:]}"
