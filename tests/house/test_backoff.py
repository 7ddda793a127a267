from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from xaiserve.backoff import FIRST_S, MOST_S, Backoff, asked_wait_s


def test_waits_double_up_to_a_bound_and_end_with_the_patience():
    now = 0.0
    backoff = Backoff(60, clock=lambda: now, chance=lambda: 1.0)
    waits = []
    while (wait := backoff.wait_s()) is not None:
        waits.append(wait)
        now += wait

    assert waits[:4] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S]
    assert max(waits) == waits[-1] == MOST_S
    assert 60 - MOST_S <= sum(waits) < 60


def test_what_the_server_asked_for_is_waited_at_least():
    backoff = Backoff(60, clock=lambda: 0.0, chance=lambda: 0.5)

    assert backoff.wait_s(7.0) == 7.0 + FIRST_S / 2
    assert backoff.wait_s(100.0) is None


def test_no_patience_is_one_attempt():
    assert Backoff(0).wait_s() is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("", None), ("soon", None), ("-1", None)]
)
def test_retry_after_is_read(text: str, seconds: float | None):
    assert asked_wait_s({"retry-after": text}) == seconds


def test_retry_after_may_be_a_date():
    then = datetime.now(UTC) + timedelta(seconds=30)

    wait = asked_wait_s({"retry-after": format_datetime(then, usegmt=True)})
    assert wait is not None
    assert 28 < wait <= 30
