"""How jobs end before they are done, and how they are seen to live."""

from dataclasses import replace

import pytest

from xaiserve.dispatch.cancelling import LOOK_S, MARK, Lookout, ask_to_end, forget
from xaiserve.errors import InvalidInputError, JobStoppedError
from xaiserve.pipelines import explain
from xaiserve.pipelines.progress import BEAT_S, Reporter
from xaiserve.storage.local import LocalStore

GIVEN = {"images": "x", "out": "y", "model": "toy", "model_source": "z", "methods": ("rise",)}


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def reporter_of(folder, told, clock, **changes):
    given = {"total": 100, "resumed": 0, "failed": 0} | changes
    return Reporter(LocalStore(folder), tell=told.append, clock=clock, **given)


def test_a_job_stops_when_more_rows_hold_errors_than_are_allowed(tmp_path):
    reporter = reporter_of(tmp_path, [], Clock())
    reporter.add(done=40, failed=40, model_inputs=0)
    reporter.check_errors(0.5, after=50)
    reporter.add(done=40, failed=0, model_inputs=0)
    reporter.check_errors(0.5, after=50)
    reporter.check_errors(None, after=50)
    reporter.add(done=1, failed=1, model_inputs=0)
    with pytest.raises(JobStoppedError, match=r"41 of 81 rows hold an error, more than .* 0\.5"):
        reporter.check_errors(0.5, after=50)


def test_errors_of_an_earlier_run_stop_nobody(tmp_path):
    reporter = reporter_of(tmp_path, [], Clock(), resumed=60, failed=60)
    reporter.add(done=10, failed=0, model_inputs=0)
    reporter.check_errors(0.1, after=5)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InvalidInputError, match="max_error_share must be above 0 and at most 1"):
        explain.Config(**GIVEN, max_error_share=share)


def test_what_stops_a_job_decides_no_result():
    plain = explain.Config(**GIVEN)
    careful = replace(plain, max_error_share=0.1, retry_errors=True, tasks_per_part=3)
    assert careful.deciding() == plain.deciding()


def test_a_mark_beside_the_rows_ends_the_job_that_looks(tmp_path):
    store, clock = LocalStore(tmp_path), Clock()
    lookout = Lookout(store, clock=clock)
    ask_to_end(store)
    (wished,) = (mark.modified for mark in store.describe(MARK))
    lookout.check()  # it does not ask the store all the time
    clock.now += LOOK_S
    with pytest.raises(JobStoppedError, match="run the same command again to go on") as ended:
        lookout.check()
    assert ended.value.cancelled
    forget(store, before=wished)
    clock.now += LOOK_S
    with pytest.raises(JobStoppedError):
        lookout.check()
    forget(store, before=wished + 1.0)
    forget(store, before=wished + 1.0)
    clock.now += LOOK_S
    lookout.check()


def test_a_job_says_now_and_then_that_it_goes_on(tmp_path):
    told, clock = [], Clock()
    reporter = reporter_of(tmp_path, told, clock)
    reporter.start()
    reporter.beat()
    assert len(told) == 1
    clock.now += BEAT_S
    reporter.beat()
    assert len(told) == 2
    assert told[-1].runs
