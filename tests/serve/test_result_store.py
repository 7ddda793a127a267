"""The store of later results: whose they are, who works on them, and when they are gone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.serve.test_results import Clock, request
from xaiserve.errors import NotFoundError
from xaiserve.serve.bodies.results import ResultBody
from xaiserve.serve.kept.explanations import Explanations
from xaiserve.serve.kept.result_store import Ended, ResultStore
from xaiserve.serve.kept.results import Results
from xaiserve.storage.leases import LEASE_S
from xaiserve.storage.local import LocalStore


def accept(store: ResultStore, owner: str = "") -> str:
    return store.accept(request(), "toy", owner).id


def test_of_many_workers_one_has_the_claim(tmp_path: Path):
    stores = [ResultStore(LocalStore(tmp_path), keep_s=60) for _ in range(3)]
    name = accept(stores[0])
    marks = stores[0].pending()[name]

    claims = [store.claim(name, marks) for store in stores]
    again = [store.claim(name, store.pending()[name]) for store in stores]

    assert [claim is not None for claim in claims] == [True, False, False]
    assert again == [None] * 3


def test_a_claim_that_nobody_renews_goes_to_another_who_alone_may_end_it(tmp_path: Path):
    store = LocalStore(tmp_path)
    name = accept(ResultStore(store, keep_s=600))
    dead = ResultStore(store, keep_s=600)
    first = dead.claim(name, dead.pending()[name])
    late = dead.pending()[name][-1].modified + LEASE_S + 1
    alive = ResultStore(store, keep_s=600, clock=lambda: late)
    second = alive.claim(name, alive.pending()[name])
    assert first is not None
    assert second is not None

    assert not dead.renew(first, {})
    assert alive.renew(second, {"progress": None})
    alive.finish(second, Ended(200, "text/plain", b"of the second"))
    dead.finish(first, Ended(200, "text/plain", b"of the first"))

    assert alive.ended(name).body == b"of the second"
    assert not alive.pending()


@pytest.mark.parametrize("left", [[], ["ended.json"]])
def test_a_result_that_is_forgotten_between_two_reads_is_not_found(
    tmp_path: Path, left: Sequence[str]
):
    store = ResultStore(LocalStore(tmp_path), keep_s=60)
    name = accept(store)
    claim = store.claim(name, store.pending()[name])
    assert claim is not None
    store.finish(claim, Ended(200, "text/plain", b"answer"))
    results = Results(store, Explanations(), {}, running=1, waiting=1, keep_s=60, max_seconds=1)

    def described(*_: str) -> ResultBody:
        body = Results._described(results, name, "")
        for file in (tmp_path / "results" / name).iterdir():
            if file.name not in left:
                file.unlink()
        return body

    results._described = described
    with pytest.raises(NotFoundError, match=f"result '{name}'"):
        asyncio.run(results.fetch(name, ""))


def test_results_of_another_key_do_not_exist(tmp_path: Path):
    store = ResultStore(LocalStore(tmp_path), keep_s=60)
    name = accept(store, "ours")

    assert store.document(name, "ours")["model"] == "toy"
    with pytest.raises(Exception, match="does not exist"):
        store.document(name, "theirs")


def test_a_list_reads_no_request_of_another_key(tmp_path: Path):
    class Reading(LocalStore):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.read_keys: list[str] = []

        def read(self, key: str) -> bytes:
            self.read_keys.append(key)
            return super().read(key)

    reading = Reading(tmp_path)
    store = ResultStore(reading, keep_s=60)
    theirs, ours = accept(store, "theirs"), accept(store, "ours")
    reading.read_keys.clear()
    results = Results(store, Explanations(), {}, running=1, waiting=1, keep_s=60, max_seconds=1)
    listed = asyncio.run(results.list("ours", limit=50, before=None))

    assert [each.id for each in listed.results] == [ours]
    assert reading.read_keys
    assert not any(theirs in key for key in reading.read_keys)


def test_a_forgotten_result_leaves_nothing(tmp_path: Path):
    store = ResultStore(LocalStore(tmp_path), keep_s=60)
    name = accept(store)
    store.forget(name, "")

    assert not LocalStore(tmp_path).list("")


def test_what_was_kept_long_enough_is_forgotten(tmp_path: Path):
    clock = Clock()
    store = ResultStore(LocalStore(tmp_path), keep_s=60, clock=clock)
    accept(store)
    clock.now += 30
    younger = accept(store)
    clock.now += 40
    store.sweep()

    assert store.names("") == [younger]
    assert len(LocalStore(tmp_path).list("owners/")) == 1
    assert set(store.pending()) == {younger}
