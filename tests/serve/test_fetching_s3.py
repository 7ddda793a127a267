"""Pictures named by an address in a bucket."""

import io

import pytest

from tests.serve.test_fetching import ALLOWED, BYTES, fetch
from xaiserve.errors import TooLargeError
from xaiserve.serve.incoming import fetching
from xaiserve.serve.incoming.fetching import Fetcher
from xaiserve.storage.s3 import S3Store


class Bucket:
    """Holds one object."""

    def __init__(self, key: str) -> None:
        self._key = key

    def head_object(self, **asked: str) -> dict[str, int]:
        assert asked == {"Bucket": "hospital", "Key": self._key}
        return {"ContentLength": len(BYTES)}

    def get_object(self, **_: str) -> dict[str, object]:
        return {"Body": io.BytesIO(BYTES)}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("public/a.png", "public/a.png"),
        ("public/left%20lung%3F%C3%A9.png", "public/left lung?é.png"),
        ("public/100%25.png", "public/100%.png"),
        ("public/a%2541.png", "public/a%41.png"),
        ("more%20scans/a.png", "more scans/a.png"),
    ],
)
def test_an_object_of_an_allowed_bucket_is_read(monkeypatch, name: str, key: str):
    monkeypatch.setattr(fetching, "open_store", lambda _: S3Store(Bucket(key), "hospital"))
    assert fetch(Fetcher(ALLOWED), f"s3://hospital/{name}") == BYTES
    with pytest.raises(TooLargeError):
        fetch(Fetcher(ALLOWED), f"s3://hospital/{name}", max_bytes=999)
