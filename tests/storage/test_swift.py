"""The store on a real S3 server, which checks secrets and can be killed."""

from collections.abc import Iterator
from typing import Any, ClassVar

import boto3
import pytest

from xaiserve.errors import StoreUnavailableError
from xaiserve.storage.objects import ObjectStore, TransientStoreError
from xaiserve.storage.s3 import S3Store, client_config
from xaiserve.testing.contracts_storage import StoreContract
from xaiserve.testing.swift import ACCESS_KEY, SECRET_KEY, SwiftServer, swift_server

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    with swift_server(tmp_path_factory.mktemp("swift")) as started:
        yield started


@pytest.fixture
def client(server: SwiftServer) -> Any:
    return client_with(server, SECRET_KEY)


@pytest.fixture
def bucket(server: SwiftServer, request: pytest.FixtureRequest) -> str:
    name = f"bucket-{abs(hash(request.node.nodeid))}"
    server.make_bucket(name)
    return name


def client_with(server: SwiftServer, secret: str) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=client_config(),
    )


class TestSwiftStore(StoreContract):
    atomic_creates: ClassVar[bool] = False

    @pytest.fixture
    def store(self, client: Any, bucket: str) -> ObjectStore:
        return S3Store(client, bucket, "prefix")


def test_a_wrong_secret_is_told(server: SwiftServer, bucket: str) -> None:
    store = S3Store(client_with(server, "wrong"), bucket)
    with pytest.raises(StoreUnavailableError, match="refused the credentials"):
        store.write("k", b"")


def test_a_killed_server_is_told_and_keeps_what_was_written(
    server: SwiftServer, client: Any, bucket: str
) -> None:
    store = S3Store(client, bucket)
    store.write("k", b"kept")
    server.kill()
    try:
        with pytest.raises(TransientStoreError, match="cannot be reached"):
            store.read("k")
    finally:
        server.start()
    assert store.read("k") == b"kept"
