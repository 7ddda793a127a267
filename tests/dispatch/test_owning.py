"""Who may work on an output: processes that live, that were killed, and of other machines."""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from xaiserve.dispatch import owning
from xaiserve.dispatch.owner import Owner
from xaiserve.dispatch.owning import FOLDER, is_owned, owned
from xaiserve.errors import ConflictError, JobStoppedError, StoreUnavailableError
from xaiserve.storage import leases
from xaiserve.storage.local import LocalStore
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.opening import open_store
from xaiserve.storage.s3 import s3_client


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        endpoint = f"http://{host}:{port}"
        s3_client(endpoint).create_bucket(Bucket="rows")
        yield endpoint
    server.stop()


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalStore(tmp_path)
    return open_store(f"s3://rows/{tmp_path.name}", endpoint=request.getfixturevalue("s3"))


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that lives until it is killed."""
    started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield started
    started.kill()
    started.communicate()


def signed(store: ObjectStore, owner: Owner) -> leases.Lease:
    lease = leases.take(store, FOLDER, store.describe(FOLDER), owner.to_json())
    assert lease is not None
    return lease


def elsewhere() -> Owner:
    return dataclasses.replace(Owner.of(os.getpid()), host="elsewhere", machine="another boot")


def never(_: object) -> None:
    raise AssertionError("nobody is to be waited for")


def test_a_second_process_is_refused_until_the_first_is_killed(
    store: ObjectStore, process: "subprocess.Popen[bytes]"
) -> None:
    signed(store, Owner.of(process.pid))
    assert is_owned(store)
    said = rf"worked on by process {process.pid} of \S+ since .* UTC; wait until it has ended"
    with pytest.raises(ConflictError, match=said), owned(store, never):
        pass

    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays as a zombie
    assert not is_owned(store)
    with owned(store, never):
        assert is_owned(store)
        assert len(store.list(FOLDER)) == 1
    assert not store.list()


def test_a_process_that_has_the_number_of_a_dead_one_owns_nothing(
    tmp_path: Path, process: "subprocess.Popen[bytes]"
) -> None:
    owner = Owner.of(process.pid)
    signed(LocalStore(tmp_path), dataclasses.replace(owner, started=owner.started - 1))
    with owned(LocalStore(tmp_path), never):
        pass


def test_a_dead_process_that_had_the_number_of_this_one_owns_nothing(tmp_path: Path) -> None:
    owner = Owner.of(os.getpid())
    signed(LocalStore(tmp_path), dataclasses.replace(owner, started=owner.started - 1))
    with owned(LocalStore(tmp_path), never):
        pass


def test_one_who_looked_long_ago_displaces_nobody(
    store: ObjectStore, process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile two others have worked in turn, and marks count from 1 again."""
    owner = Owner.of(process.pid)
    first = signed(store, dataclasses.replace(owner, started=owner.started - 1))
    later: list[leases.Lease] = []
    take = leases.take

    def late(*given: Any) -> leases.Lease | None:
        monkeypatch.setattr(leases, "take", take)
        leases.release(store, first)
        later.append(signed(store, owner))
        return take(*given)

    monkeypatch.setattr(leases, "take", late)
    said = rf"worked on by process {process.pid}"
    with pytest.raises(ConflictError, match=said), owned(store, never, sleep=lambda _: None):
        pass
    assert leases.renew(store, later[0], owner.to_json())


def test_a_process_that_lives_and_renews_its_lease_no_more_owns_nothing(
    tmp_path: Path, process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not give the output back, or was suspended."""
    lease = signed(LocalStore(tmp_path), Owner.of(process.pid))
    assert is_owned(LocalStore(tmp_path))
    monkeypatch.setattr(leases, "LEASE_S", -1.0)
    assert not is_owned(LocalStore(tmp_path))
    with owned(LocalStore(tmp_path), never):
        assert not leases.renew(LocalStore(tmp_path), lease, {})


def test_an_owner_on_another_machine_that_renews_is_not_disturbed(store: ObjectStore) -> None:
    owner, told = elsewhere(), []
    lease = signed(store, owner)

    def renewed(_: float) -> None:
        time.sleep(1.1)  # a store may know whole seconds only
        assert leases.renew(store, lease, owner.to_json())

    with pytest.raises(ConflictError, match="elsewhere"), owned(store, told.append, sleep=renewed):
        pass
    assert len(told) == 1
    assert "unless it is heard of, this goes on in at most 20 s" in told[0]


def test_an_owner_on_another_machine_that_is_silent_is_waited_for_and_loses(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 2.0)
    told: list[str] = []
    lease = signed(store, elsewhere())
    with owned(store, told.append):
        assert not leases.renew(store, lease, {})
    assert len(told) == 1
    assert not store.list()


def test_an_owner_that_was_taken_for_dead_stops_and_leaves_the_output_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owning, "RENEW_S", 0.01)
    store = LocalStore(tmp_path)
    with owned(store) as ownership:
        ownership.check()
        other = signed(store, elsewhere())
        ownership._thread.join(timeout=60)
        with pytest.raises(JobStoppedError, match="taken over by another process"):
            ownership.check()
    assert store.list(FOLDER)[-1] == other.key


def test_of_many_at_once_in_one_process_one_owns_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owning, "RENEW_S", 0.05)
    monkeypatch.setattr(owning, "_LOOK_S", 0.05)
    ended = []

    def work(_: int) -> bool:
        try:
            with owned(LocalStore(tmp_path)):
                while len(ended) < 7:
                    time.sleep(0.01)
        except ConflictError:
            ended.append(1)
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 1


class Ill(LocalStore):
    ill = False

    def list(self, prefix: str = "") -> "list[str]":
        if self.ill:
            raise StoreUnavailableError("the store is ill")
        return list(super().list(prefix))


def test_a_store_that_is_away_for_a_while_costs_nobody_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(owning, "RENEW_S", 0.01)
    store = Ill(tmp_path)
    with owned(store) as ownership:
        store.ill = True
        while "the store is ill" not in caplog.text:
            time.sleep(0.01)
        store.ill = False
        (mark,) = store.describe(FOLDER)
        while store.describe(FOLDER)[0].modified == mark.modified:
            time.sleep(0.01)
        ownership.check()
