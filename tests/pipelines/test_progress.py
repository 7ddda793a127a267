import json

import pytest

from xaiserve.dispatch.owning import owned
from xaiserve.dispatch.progress import PROGRESS
from xaiserve.pipelines.progress import Progress, Reporter, read_progress
from xaiserve.storage.local import LocalStore


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def reporter(tmp_path, clock, told):
    return Reporter(LocalStore(tmp_path), total=10, resumed=2, tell=told.append, clock=clock)


def test_tells_at_once_and_then_at_most_every_two_seconds(reporter, clock, told):
    reporter.start()
    for _ in range(4):
        clock.now += 1
        reporter.add(done=1, failed=0, model_inputs=10)
    assert [each.done for each in told] == [2, 4, 6]


def test_what_an_earlier_run_published_and_the_start_do_not_count_as_speed(reporter, clock, told):
    reporter.start()
    clock.now += 30
    reporter.add(done=2, failed=0, model_inputs=100)
    assert told[-1].per_second is None
    clock.now += 4
    reporter.add(done=2, failed=1, model_inputs=100)
    assert (told[-1].per_second, told[-1].seconds_left) == (0.5, 8.0)
    assert str(told[-1]) == (
        "running: 6/10 explanations, 1 failed, 0.50/s, 25 model inputs/s, 8 s left"
    )


def test_a_run_with_a_limit_of_time_says_no_more_is_left_than_that(tmp_path, clock, told):
    store = LocalStore(tmp_path)
    limited = Reporter(store, total=100, resumed=0, tell=told.append, limit_s=20, clock=clock)
    for _ in range(5):
        clock.now += 5
        limited.add(done=1, failed=0, model_inputs=0)
    assert [each.seconds_left for each in told] == [None, 10, 5, 0, 0]
    assert read_progress(store).limit_s == 20


def test_progress_is_read_back_from_the_output(reporter, tmp_path):
    reporter.start()
    last = reporter.enter("done")
    written = json.loads((tmp_path / PROGRESS).read_bytes())
    assert Progress.from_json(written) == read_progress(LocalStore(tmp_path)) == last
    assert written["state"] == "done"


def test_a_job_that_says_that_it_runs_and_has_no_owner_is_dead(reporter, tmp_path):
    store = LocalStore(tmp_path)
    assert read_progress(store) is None
    with owned(store):
        reporter.start()
        assert read_progress(store).runs
    found = read_progress(store)
    assert not found.runs
    assert str(found) == "dead (nobody works on it; run it again to go on): 2/10 explanations"
    assert json.loads(found.to_json())["state"] == "dead"


@pytest.mark.parametrize(
    ("left", "said"), [(5, "5 s left"), (65, "1 min 5 s left"), (7260, "2 h 1 min left")]
)
def test_writes_durations_as_people_do(left, said):
    progress = Progress(state="running", total=left, per_second=1.0)
    assert str(progress).endswith(said)


def test_failures_of_an_earlier_run_are_still_failures(tmp_path, clock, told):
    store = LocalStore(tmp_path)
    resumed = Reporter(store, total=3, resumed=2, failed=1, tell=told.append, clock=clock)
    resumed.add(done=1, failed=1, model_inputs=10)
    assert resumed.enter("done").failed == 2
