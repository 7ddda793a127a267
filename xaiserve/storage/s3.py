"""Objects in an S3 bucket, of Amazon's or of any server that speaks the protocol."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from xaiserve.errors import (
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StoreUnavailableError,
    XaiServeError,
)
from xaiserve.storage.objects import Stored, TransientStoreError, check_key

_NO_CREDENTIALS: Final = (
    *(NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound),
)
_NETWORK: Final = (EndpointConnectionError, HTTPClientError, IncompleteReadError)
_TRANSIENT_CODES: Final = frozenset(
    {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
    | {"ConditionalRequestConflict", "OperationAborted"}
)
_NOT_IMPLEMENTED: Final = 501
_ASK_FOR_CREDENTIALS: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of an account that may use it"
)

_MEANING: Final[Mapping[int, tuple[type[XaiServeError], str]]] = {
    301: (StoreUnavailableError, "lies in another region; set AWS_REGION to it"),
    307: (StoreUnavailableError, "lies in another region; set AWS_REGION to it"),
    401: (StoreUnavailableError, f"refused the credentials; {_ASK_FOR_CREDENTIALS}"),
    403: (StoreUnavailableError, f"refused the credentials; {_ASK_FOR_CREDENTIALS}"),
    404: (ArtifactNotFoundError, "does not exist"),
    412: (ConflictError, "exists already"),
}


@lru_cache(maxsize=8)
def s3_client(endpoint: str | None = None) -> Any:  # Any: boto3 makes its classes at run time
    """Make a client, one per endpoint in a process; it is safe to share between threads.

    Credentials and region come from boto3's usual places (environment, profile, instance role), as
    they are when it is made: boto3's own session would keep those of its first client, and must
    not make clients in two threads at once.

    Parameters
    ----------
    endpoint
        Such as ``http://localhost:9000``; by default Amazon's, or what boto3's own configuration
        says.

    Raises
    ------
    InvalidInputError
        The endpoint is no address.
    """
    try:
        session = boto3.session.Session()
        return session.client("s3", endpoint_url=endpoint, config=client_config())
    except ValueError as error:
        raise InvalidInputError(
            f"AWS_ENDPOINT_URL must be an address such as http://localhost:9000: {error}"
        ) from error


def client_config() -> Config:
    """Return settings that every S3 server understands."""
    return Config(
        s3={"addressing_style": "path"},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
        retries={"total_max_attempts": 1},  # `Retrying` repeats, for every kind of store alike
        # Many servers reject the checksum trailers that boto3 sends by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


class S3Store:
    """Objects of one bucket under a prefix.

    Parameters
    ----------
    client
        A boto3 S3 client; see `s3_client`.
    bucket
        It must exist.
    prefix
        Without the ``/`` that parts it from keys; empty for the whole bucket.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:  # Any: see `s3_client`
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".removesuffix("/")

    def read(self, key: str) -> bytes:
        return self._get(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self._get(key, Range=f"bytes={start}-{start + length - 1}")

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        condition = {"IfNoneMatch": "*"} if create_only else {}
        with self._explained(key):
            self._client.put_object(**self._object(key), Body=data, **condition)

    def remove(self, key: str) -> None:
        self.size(key)  # S3 itself does not tell whether there was anything to remove
        with self._explained(key):
            self._client.delete_object(**self._object(key))

    def list(self, prefix: str = "") -> Sequence[str]:
        return [each.key for each in self.describe(prefix)]

    def describe(self, prefix: str = "") -> Sequence[Stored]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._explained(prefix):
            found = [
                Stored(
                    entry["Key"].removeprefix(self._prefix),
                    int(entry["Size"]),
                    entry["LastModified"].timestamp(),
                )
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
                for entry in page.get("Contents", ())
            ]
        # Consoles mark "folders" with empty objects whose key ends in a slash.
        objects = [each for each in found if each.key and not each.key.endswith("/")]
        return sorted(objects, key=lambda each: each.key)

    def size(self, key: str) -> int:
        with self._explained(key):
            return int(self._client.head_object(**self._object(key))["ContentLength"])

    def tidy(self, prefix: str) -> None:
        """Do nothing: a bucket has objects alone."""

    def _get(self, key: str, **options: str) -> bytes:
        with self._explained(key):
            answer = self._client.get_object(**self._object(key), **options)
            body: bytes = answer["Body"].read()
            return body

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Say what a fault of the network or the server means for the object."""
        uri = f"s3://{self._bucket}/{self._prefix}{key}"
        try:
            yield
        except ClientError as error:
            raise self._refusal(uri, error) from error
        except _NO_CREDENTIALS as error:
            raise StoreUnavailableError(
                f"{uri} needs credentials and none are usable; {_ASK_FOR_CREDENTIALS}"
            ) from error
        except _NETWORK as error:
            raise TransientStoreError(
                f"{uri} cannot be reached at {self._client.meta.endpoint_url}; "
                "check the endpoint and the network"
            ) from error
        except ParamValidationError as error:
            raise InvalidInputError(
                f"{uri} is no valid S3 address: {_first_sentence(error)}"
            ) from error
        except BotoCoreError as error:
            raise StoreUnavailableError(f"{uri} cannot be used: {error}") from error

    def _refusal(self, uri: str, error: ClientError) -> XaiServeError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _TRANSIENT_CODES or status == 429 or _is_ill(status):  # noqa: PLR2004
            return TransientStoreError(f"{uri}: the server is busy or ill ({code})")
        if code == "NoSuchBucket":
            return NotFoundError(
                f"bucket {self._bucket} of {uri} does not exist at "
                f"{self._client.meta.endpoint_url}; create it or check the name and endpoint"
            )
        kind, words = _MEANING.get(status, (StoreUnavailableError, f"was refused: {error}"))
        return kind(
            f"{uri} {words} ({code})" if kind is StoreUnavailableError else f"{uri} {words}"
        )


def _first_sentence(error: ParamValidationError) -> str:
    """Leave out botocore's headline and the regular expressions that a name must match."""
    return str(error).partition("\n")[2].partition(": ")[0] or str(error)


def _is_ill(status: int) -> bool:
    return status >= 500 and status != _NOT_IMPLEMENTED  # noqa: PLR2004
