"""Where results go, and who is asked: a store, a Ray cluster, a running service."""

import json
import uuid
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from xaiserve.cli.addressing import job_server
from xaiserve.cli.checks.finding import Finding
from xaiserve.errors import ConflictError, InvalidInputError
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.opening import is_s3, open_store

PATIENCE_S: Final = 10.0

_HTTP: Final = frozenset({"http", "https"})
_TEXT: Final = b"xaiserve doctor"


def store(out: str) -> Finding:
    """Write, create once, read, list and remove an object, as a job does.

    Raises
    ------
    XaiServeError
        The store cannot be reached, refuses, or does not exist.
    """
    place = out if is_s3(out) else str(_existing(Path(out)))
    return probe(open_store(place), f".xaiserve-doctor-{uuid.uuid4().hex}")


def _existing(folder: Path) -> Path:
    """Find the folder, or the one in which a job would make it: a probe leaves nothing behind."""
    return next(each for each in (folder, *folder.absolute().parents) if each.is_dir())


def probe(opened: ObjectStore, key: str) -> Finding:
    """See `store`."""
    opened.write(key, _TEXT, create_only=True)
    try:
        faults = [
            fault
            for fault, wrong in (
                ("gives back other bytes than were written", opened.read(key) != _TEXT),
                ("does not list what was just written", key not in opened.list(key)),
                ("writes over an object that should only be created", _overwrites(opened, key)),
            )
            if wrong
        ]
    finally:
        opened.remove(key)
    if faults:
        return Finding(
            name="store",
            state="failed",
            told=f"{opened.uri} {' and '.join(faults)}",
            todo="use a store that is consistent and knows If-None-Match, as Amazon's: else a job "
            "cannot promise that every row is there once",
        )
    return Finding(
        name="store", state="ok", told=f"{opened.uri} writes, creates once, reads, lists, removes"
    )


def _overwrites(opened: ObjectStore, key: str) -> bool:
    try:
        opened.write(key, _TEXT, create_only=True)
    except ConflictError:
        return False
    return True


def cluster(address: str) -> Finding:
    """Ask a cluster's job server for its version.

    Raises
    ------
    InvalidInputError
        The address is none, nothing answers there, or it refuses the token.
    """
    if urlsplit(address).scheme not in _HTTP:
        raise InvalidInputError(
            f"--address must be http://HOST:PORT of a cluster's dashboard, got {address!r}"
        )

    import ray

    version = job_server(address).ray_version()
    if version != ray.__version__:
        return Finding(
            name="cluster",
            state="failed",
            told=f"{address} runs Ray {version}, and here is {ray.__version__}",
            todo=f"pip install 'ray[serve,data]=={version}', or the same image as the cluster",
        )
    return Finding(name="cluster", state="ok", told=f"{address} runs Ray {version}")


def service(url: str) -> Finding:
    """Ask a service whether it is ready.

    Raises
    ------
    InvalidInputError
        The address is none, or nothing answers there.
    """
    if urlsplit(url).scheme not in _HTTP:
        raise InvalidInputError(f"--url must be http://HOST:PORT of a service, got {url!r}")
    status, body = _get(f"{url.rstrip('/')}/readyz")
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not told.keys() & {"models", "detail"}:
        return Finding(
            name="service",
            state="failed",
            told=f"{url} answers {status}, and is no xaiserve",
            todo="check host and port; 'xaiserve serve' prints its address",
        )
    if "detail" in told:
        return Finding(
            name="service",
            state="failed",
            told=f"{url} is not ready: {told['detail']}",
            todo="wait until its models are loaded; its log says why if they never are",
        )
    names = ", ".join(told["models"])
    return Finding(name="service", state="ok", told=f"{url} is ready with {names}")


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 -- the scheme is checked
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise InvalidInputError(
            f"nothing answers at {url}: {reason}; start one with 'xaiserve serve', or check host "
            "and port"
        ) from error
