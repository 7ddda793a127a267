"""API keys as they are made, kept, found and revoked; no HTTP."""

import hashlib
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xaiserve.errors import CapacityError, ConflictError, InvalidInputError, NotFoundError
from xaiserve.serve.access.keys import ApiKey, add_key, make_key, read_keys, revoke_key
from xaiserve.serve.access.quotas import Quota

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_the_file_holds_the_digest_and_never_the_key(file: Path):
    text, key = make_key("viewer", now=NOW)
    add_key(file, key)

    kept = file.read_text()
    assert text not in kept
    assert text.rpartition("_")[2] not in kept
    assert hashlib.sha256(text.encode()).hexdigest() in kept
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_is_found_by_its_text_and_by_no_other(file: Path):
    (one, first), (two, second) = (make_key(name, now=NOW) for name in ("one", "two"))
    add_key(file, first)
    add_key(file, second)

    held = read_keys(file)
    assert held.find(one, NOW) == first
    assert held.find(two, NOW) == second
    swapped = f"xai_{first.id}_{two.rpartition('_')[2]}"
    for wrong in ("", "xai_", one[:-1], one + "x", swapped, first.id, first.sha256, "é" + one):
        assert held.find(wrong, NOW) is None


def test_a_key_holds_256_random_bits():
    texts = {make_key("a", now=NOW)[0] for _ in range(100)}
    assert len(texts) == 100
    assert min(len(text.split("_", 2)[2]) for text in texts) == 43  # 32 bytes of base64


def test_a_revoked_or_expired_key_opens_nothing(file: Path):
    text, key = make_key("brief", now=NOW, days=1)
    add_key(file, key)
    assert read_keys(file).find(text, NOW + timedelta(hours=23))
    assert read_keys(file).find(text, NOW + timedelta(days=1)) is None

    assert revoke_key(file, "brief", NOW).revoked == NOW
    assert read_keys(file).find(text, NOW) is None
    with pytest.raises(NotFoundError, match="no usable key 'brief'"):
        revoke_key(file, "brief", NOW)


def test_a_name_is_used_once_among_usable_keys(file: Path):
    add_key(file, make_key("viewer", now=NOW)[1])
    with pytest.raises(ConflictError, match="'viewer'"):
        add_key(file, make_key("viewer", now=NOW)[1])

    revoke_key(file, "viewer", NOW)
    add_key(file, make_key("viewer", now=NOW)[1])
    assert [key.revoked for key in read_keys(file).keys] == [NOW, None]


@pytest.mark.parametrize(
    ("contents", "word"),
    [("", "contents"), ("[]", "contents"), ('{"key": []}', "key"), ('{"keys": [{}]}', "keys.0.id")],
)
def test_a_file_that_is_something_else_is_told_in_a_sentence(file: Path, contents: str, word: str):
    file.write_text(contents)
    with pytest.raises(InvalidInputError, match=word):
        read_keys(file)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"requests_per_s": 0.0}, {"burst": 0}, {"concurrent": 0}]
)
def test_limits_out_of_range_are_refused(wrong: dict[str, object]):
    given = {"name": "a", "now": NOW, **wrong}
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        make_key(**given)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def limited(**limits: float) -> ApiKey:
    return make_key("viewer", now=NOW, **limits)[1]


def asks(quota: Quota) -> float:
    """Seconds to wait; 0 when let in."""
    try:
        with quota.one():
            return 0.0
    except CapacityError as error:
        return error.retry_after_s


def test_a_burst_is_let_in_and_then_the_rate():
    clock = Clock()
    quota = Quota(limited(requests_per_s=2, burst=3), clock=clock)

    assert [asks(quota) for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.25
    assert asks(quota) == 0.25
    clock.now += 0.25
    assert [asks(quota), asks(quota)] == [0, 0.5]
    clock.now += 1000
    assert [asks(quota) for _ in range(4)] == [0, 0, 0, 0.5]


def test_over_an_hour_no_more_than_the_rate_and_one_burst_gets_in():
    clock = Clock()
    quota = Quota(limited(requests_per_s=1.5, burst=4), clock=clock)
    let_in = 0
    for _ in range(36_000):
        let_in += asks(quota) == 0
        clock.now += 0.1
    assert 5400 <= let_in <= 5400 + 4


def test_a_request_too_many_at_a_time_is_refused_and_one_that_failed_frees_its_place():
    quota = Quota(limited(concurrent=2))
    with quota.one(), quota.one():
        assert asks(quota) > 0
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), quota.one():
            raise ZeroDivisionError
    assert asks(quota) == 0


def test_replicas_share_the_limits_of_a_key():
    clock = Clock()
    halves = [Quota(limited(requests_per_s=4, concurrent=2), share=0.5, clock=clock)] * 2
    assert sum(asks(half) == 0 for half in halves * 3) == 2
