"""Local and S3 stores, alone and retried."""

import socket
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from xaiserve.errors import (
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StoreUnavailableError,
)
from xaiserve.storage.local import LocalStore
from xaiserve.storage.objects import ObjectStore, TransientStoreError
from xaiserve.storage.retry import Retrying
from xaiserve.storage.s3 import S3Store, client_config
from xaiserve.testing.contracts_storage import StoreContract


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return LocalStore(tmp_path / "not yet")

    def test_a_failed_write_leaves_nothing(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        (tmp_path / "folder").mkdir()
        with pytest.raises(ArtifactNotFoundError):
            store.write("folder", b"")
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]

    def test_a_folder_goes_with_its_last_object(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        store.write("a/b", b"")
        store.write("a/c", b"")
        store.remove("a/b")
        assert (tmp_path / "a").is_dir()
        store.remove("a/c")
        assert not list(tmp_path.iterdir())

    def test_writers_are_not_disturbed_by_those_who_remove(self, tmp_path: Path) -> None:
        def work(name: str) -> None:
            store = LocalStore(tmp_path)
            for _ in range(50):
                store.write(f"a/{name}", b"")
                store.remove(f"a/{name}")

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, "bcde"))
        assert not LocalStore(tmp_path).list()

    def test_debris_of_a_killed_writer_is_not_listed(self, tmp_path: Path) -> None:
        (tmp_path / ".tmp-x").write_bytes(b"half")
        assert list(LocalStore(tmp_path).list()) == []

    def test_a_key_cannot_name_debris(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match=r"key must not name a file \.tmp-"):
            LocalStore(tmp_path).write("a/.tmp-x", b"")

    def test_others_may_read_what_was_written(self, tmp_path: Path) -> None:
        LocalStore(tmp_path).write("k", b"")
        assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o644

    def test_empty_folders_are_tidied_away_and_others_stay(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        (tmp_path / "a" / "b" / "c").mkdir(parents=True)
        store.write("a/kept/x", b"")
        store.write("ab/x", b"")
        store.tidy("a/")
        assert not (tmp_path / "a" / "b").exists()
        assert store.list() == ["a/kept/x", "ab/x"]
        store.tidy("nothing/")
        LocalStore(tmp_path / "empty").tidy("")

    def test_what_is_written_while_folders_are_tidied_away_is_there(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path)
        written = threading.Event()

        def tidy() -> None:
            while not written.is_set():
                store.tidy("a/")

        with ThreadPoolExecutor(1) as threads:
            tidying = threads.submit(tidy)
            try:
                for number in range(50):
                    store.write("a/b/c/x", b"%d" % number)
                    assert store.read("a/b/c/x") == b"%d" % number
                    store.remove("a/b/c/x")
            finally:
                written.set()
            tidying.result()

    def test_a_folder_that_cannot_be_used_is_told(self, tmp_path: Path) -> None:
        long = "x" * 300
        with pytest.raises(StoreUnavailableError, match="cannot be used: File name too long"):
            LocalStore(tmp_path).write(long, b"")

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StoreUnavailableError, match=r"file/a cannot be made: Not a directory"):
            LocalStore(tmp_path / "file").write("a/k", b"")


def as_opened(store: ObjectStore) -> ObjectStore:
    """Retried, as `open_store` has it: the fake server fails now and then when it is hurried."""
    return Retrying(store, attempts=50, sleep=lambda _: None)


class TestS3Store(StoreContract):
    # The server decides such races, and the fake one looks before it writes without a lock.
    test_of_many_who_create_one_wins = None

    @pytest.fixture
    def store(self, client: Any, bucket: str) -> ObjectStore:
        return as_opened(S3Store(client, bucket, "some/prefix"))


class TestS3StoreOfAWholeBucket(StoreContract):
    test_of_many_who_create_one_wins = None

    @pytest.fixture
    def store(self, client: Any, bucket: str) -> ObjectStore:
        return as_opened(S3Store(client, bucket))


class TestRetrying(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return Retrying(LocalStore(tmp_path))


EVERYTHING: list[Callable[[ObjectStore], object]] = [
    lambda store: store.read("k"),
    lambda store: store.read_range("k", 0, 1),
    lambda store: store.write("k", b""),
    lambda store: store.write("k", b"", create_only=True),
    lambda store: store.list(),
    lambda store: store.list("k"),
]


@pytest.mark.parametrize("ask", EVERYTHING)
def test_a_missing_bucket_is_named(client: Any, ask: Callable[[ObjectStore], object]) -> None:
    with pytest.raises(NotFoundError, match=r"bucket nowhere of s3://nowhere/p/.* create it"):
        ask(S3Store(client, "nowhere", "p"))


@pytest.mark.parametrize("ask", EVERYTHING)
def test_missing_credentials_are_told(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, ask: Callable[[ObjectStore], object]
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=client_config())
    with pytest.raises(
        StoreUnavailableError, match=r"s3://b-1/p/.* needs credentials .* set AWS_ACCESS_KEY_ID"
    ):
        ask(S3Store(client, "b-1", "p"))


@pytest.mark.parametrize("ask", EVERYTHING)
def test_an_unreachable_endpoint_is_named(ask: Callable[[ObjectStore], object]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers here
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = boto3.client("s3", endpoint_url=nowhere, config=client_config())
        with pytest.raises(TransientStoreError, match=f"cannot be reached at {nowhere}; check"):
            ask(S3Store(client, "b-1", "p"))


def test_a_bucket_name_that_cannot_be_is_refused(client: Any) -> None:
    with pytest.raises(InvalidInputError, match="no valid S3 address"):
        S3Store(client, "not a bucket!").read("k")


class Refusing:
    """An S3 client whose server answers everything with one error."""

    class meta:  # noqa: N801 boto3's name
        endpoint_url = "http://s3.test"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_object(self, **_: object) -> None:
        raise self._error


def answer(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (answer("AccessDenied", 403), StoreUnavailableError, "refused the credentials; set AWS_"),
        (answer("InvalidAccessKeyId", 403), StoreUnavailableError, "InvalidAccessKeyId"),
        (answer("SignatureDoesNotMatch", 403), StoreUnavailableError, "refused the credentials"),
        (answer("PermanentRedirect", 301), StoreUnavailableError, "set AWS_REGION"),
        (answer("NotImplemented", 501), StoreUnavailableError, "was refused: .*NotImplemented"),
        (answer("InvalidRequest", 400), StoreUnavailableError, "was refused: .*InvalidRequest"),
        (answer("SlowDown", 503), TransientStoreError, "busy or ill"),
        (answer("InternalError", 500), TransientStoreError, "busy or ill"),
        (answer("RequestTimeout", 400), TransientStoreError, "busy or ill"),
        (answer("TooManyRequests", 429), TransientStoreError, "busy or ill"),
        (ReadTimeoutError(endpoint_url="u"), TransientStoreError, "cannot be reached"),
        (answer("NoSuchKey", 404), ArtifactNotFoundError, "does not exist"),
    ],
    ids=str,
)
def test_what_the_server_says_is_explained(
    error: Exception, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=rf"s3://b/k.*{message}") as caught:
        S3Store(Refusing(error), "b").read("k")
    assert isinstance(caught.value, TransientStoreError) == (kind is TransientStoreError)


class Flaky:
    """A store whose next answers are lost, after or before the request was done."""

    def __init__(self, store: ObjectStore, losses: int, *, done: bool = False) -> None:
        self._store, self.losses, self._done = store, losses, done
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not callable(method):
            return method

        def ask(*args: object, **options: object) -> object:
            self.asked += 1
            if self.asked <= self.losses:
                if self._done:
                    method(*args, **options)
                raise TransientStoreError("lost")
            return method(*args, **options)

        return ask


def retrying(store: Any, waits: list[float], attempts: int = 5) -> Retrying:
    return Retrying(
        store,
        attempts=attempts,
        first_wait_s=1.0,
        longest_wait_s=3.0,
        sleep=waits.append,
        draw=lambda: 0.5,
    )


def test_a_transient_fault_is_repeated_with_growing_waits(tmp_path: Path) -> None:
    waits: list[float] = []
    store = retrying(Flaky(LocalStore(tmp_path), losses=4), waits)
    store.write("k", b"x")
    assert store.read("k") == b"x"
    assert waits == [0.5, 1.0, 1.5, 1.5]


def test_repeating_ends(tmp_path: Path) -> None:
    flaky = Flaky(LocalStore(tmp_path), losses=100)
    with pytest.raises(TransientStoreError):
        retrying(flaky, [], attempts=3).list()
    assert flaky.asked == 3


def test_one_attempt_never_waits(tmp_path: Path) -> None:
    waits: list[float] = []
    with pytest.raises(TransientStoreError):
        retrying(Flaky(LocalStore(tmp_path), losses=1), waits, attempts=1).size("k")
    assert waits == []


def test_other_faults_are_not_repeated(tmp_path: Path) -> None:
    waits: list[float] = []
    flaky = Flaky(LocalStore(tmp_path), losses=0)
    with pytest.raises(ArtifactNotFoundError):
        retrying(flaky, waits).read("no")
    assert (flaky.asked, waits) == (1, [])


def test_a_lost_answer_to_a_create_is_no_conflict(tmp_path: Path) -> None:
    store = retrying(Flaky(LocalStore(tmp_path), losses=1, done=True), [])
    store.write("once", b"mine", create_only=True)
    assert store.read("once") == b"mine"


def test_a_create_that_another_won_is_a_conflict(tmp_path: Path) -> None:
    LocalStore(tmp_path).write("once", b"theirs")
    with pytest.raises(ConflictError):
        retrying(Flaky(LocalStore(tmp_path), losses=1), []).write("once", b"x", create_only=True)


def test_a_lost_answer_to_a_removal_is_no_absence(tmp_path: Path) -> None:
    local = LocalStore(tmp_path)
    local.write("k", b"")
    retrying(Flaky(local, losses=1, done=True), []).remove("k")
    assert list(tmp_path.iterdir()) == []


def test_attempts_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="attempts must be at least 1, got 0"):
        Retrying(LocalStore(tmp_path), attempts=0)
