from pathlib import Path

import pytest

from xaiserve.storage import leases
from xaiserve.storage.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_of_those_who_saw_the_same_marks_one_takes_the_next(store: LocalStore) -> None:
    first = leases.take(store, "a/", (), {})
    assert first is not None
    assert (first.key, leases.take(store, "a/", (), {})) == ("a/000001", None)
    second = leases.take(store, "a/", store.describe("a/"), {})
    assert second is not None
    assert second.key == "a/000002"
    assert (leases.renew(store, first, {}), leases.renew(store, second, {})) == (False, True)


def test_a_mark_holds_for_a_while_and_one_of_nobody_never(store: LocalStore) -> None:
    store.write(leases.mark_key("a/", 0), b"{}")
    leases.take(store, "a/", store.describe("a/"), {})
    nobody, held = store.describe("a/")
    assert not leases.is_held(nobody)
    assert leases.is_held(held)
    assert not leases.is_held(held, held.modified + leases.LEASE_S + 1)


def test_a_lease_that_was_lost_is_not_renewed_though_its_number_came_again(
    store: LocalStore,
) -> None:
    lost = leases.take(store, "a/", (), {})
    assert lost is not None
    leases.release(store, lost)
    leases.release(store, lost)
    assert not leases.renew(store, lost, {})
    again = leases.take(store, "a/", (), {"of": "another"})
    assert again is not None
    assert again.key == lost.key
    assert not leases.renew(store, lost, {})
    leases.release(store, lost)
    assert b"another" in store.read(again.key)
