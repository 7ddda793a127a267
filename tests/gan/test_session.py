"""A session: what it keeps, how it goes on, and how it ends."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from xaiserve.errors import StoreUnavailableError, TrainingFailedError
from xaiserve.gan.card import card
from xaiserve.gan.checkpoints import PREFIX, checkpoint_of, latest, save
from xaiserve.gan.session import METRICS, SAMPLES, Habits, Session
from xaiserve.gan.sheets import CAPTION_PX
from xaiserve.gan.translator import load_translator, write_translator
from xaiserve.perturb.rng import Keys
from xaiserve.storage.local import LocalStore
from xaiserve.storage.pictures import decode
from xaiserve.testing.gans import LABELS, TINY, tiny_pictures, tiny_players

ALWAYS = Habits(checkpoint_s=1e-9, sheet_s=1e-9)


class Killed(BaseException):
    """What no code of ours catches."""


class FullDisk(LocalStore):
    """A store that takes so many checkpoints and then nothing."""

    room = 2

    def write(self, key, data, *, create_only=False):
        if key.startswith(PREFIX):
            self.room -= 1
        if self.room < 0:
            raise StoreUnavailableError(f"{self.uri}/{key} cannot be used: No space left on device")
        super().write(key, data, create_only=create_only)


@pytest.fixture(scope="module")
def split():
    return tiny_pictures(8).split(0.25, Keys.root(0, "held out"))


@pytest.fixture
def make(split, tmp_path):
    def session(name="run", **more):
        settings = {"store": LocalStore(tmp_path / name), "preset": TINY, "seed": 0} | more
        return Session(pictures=split[0], held_out=split[1], **settings)

    return session


def kill_at(number):
    def tell(step, _):
        if step.number == number:
            raise Killed

    return tell


def weights(session):
    return [value.clone() for value in session.generator.state_dict().values()]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_session_leaves_checkpoints_metrics_and_sheets(make, tmp_path):
    told = []
    session = make(habits=ALWAYS, tell=lambda step, total: told.append((step.number, total)))
    outcome = session.run()
    assert told == [(number, 9) for number in range(1, 10)]
    assert (outcome.steps, outcome.epochs, outcome.ended) == (9, 3.0, "epochs")
    assert outcome.figures.pictures == 4
    store = LocalStore(tmp_path / "run")
    assert len(store.list(PREFIX)) == 2
    lines = [json.loads(line) for line in store.read(METRICS).decode().splitlines()]
    assert [line["step"] for line in lines] == [9]
    assert {"critic_real", "generator_identity", "epoch", "seconds"} <= set(lines[0])
    sheet = decode(store.read(f"{SAMPLES}/step-000000009.png")).image
    assert sheet.size == (4 * 68, 4 * (68 + CAPTION_PX))
    captions = np.asarray(sheet).reshape(4, 68 + CAPTION_PX, 4 * 68, 3)[:, :CAPTION_PX]
    assert len({caption.tobytes() for caption in captions}) == 4  # picture, two classes, change


def test_a_killed_session_goes_on_to_the_result_of_one_that_was_not(make):
    whole = make("whole", habits=ALWAYS)
    whole.run()
    with pytest.raises(Killed):
        make("parts", habits=ALWAYS, tell=kill_at(5)).run()
    rest = make("parts", habits=ALWAYS)
    assert rest.steps == 4
    assert not equal(weights(whole), weights(rest))
    assert rest.run().steps == 9
    assert equal(weights(whole), weights(rest))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(make, tmp_path):
    with pytest.raises(Killed):
        make(habits=ALWAYS, tell=kill_at(6)).run()
    newest = max((tmp_path / "run" / "training" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    assert make().steps == 4


def test_a_finished_session_trains_no_more(make):
    first = make()
    first.run()
    told = []
    again = make(tell=lambda step, _: told.append(step))
    assert again.run().ended == "epochs"
    assert told == []
    assert equal(weights(first), weights(again))


def test_spent_time_ends_a_session_over_all_its_runs(make):
    seconds = iter(range(100_000))
    habits = Habits(checkpoint_s=1e9, max_seconds=8)
    first = make(habits=habits, clock=lambda: float(next(seconds)))
    outcome = first.run()
    assert outcome.ended == "seconds"
    assert 0 < outcome.steps < 9
    assert outcome.seconds >= 8
    again = make(habits=habits)
    assert (first.seconds_left, again.seconds_left) == (0, 0)
    assert again.run().steps == outcome.steps
    longer = make(habits=Habits())
    assert longer.run().ended == "epochs"


def test_a_divergence_names_its_step_and_keeps_the_checkpoint_before(make, split):
    with pytest.raises(Killed):
        make(habits=ALWAYS, tell=kill_at(4)).run()
    broken = dataclasses.replace(split[0], inputs=torch.full_like(split[0].inputs, torch.nan))
    session = make(habits=ALWAYS)
    session.pictures = broken
    with pytest.raises(TrainingFailedError, match="in step 4; the checkpoint of step 3 is kept"):
        session.run()
    kept = latest(session.store)
    assert kept.step == 3
    values = kept.state["generator"].values()
    assert all(torch.isfinite(value).all() for value in values)


def test_a_full_disk_ends_the_session_in_a_sentence_and_keeps_the_last_checkpoint(make, tmp_path):
    session = make(habits=ALWAYS, store=FullDisk(tmp_path / "full"))
    with pytest.raises(StoreUnavailableError, match="No space left on device"):
        session.run()
    assert latest(session.store).step == 2
    assert make(store=LocalStore(tmp_path / "full")).run().steps == 9


def test_a_checkpoint_is_not_changed_by_later_steps(tmp_path):
    store, players = LocalStore(tmp_path), tiny_players()
    found = checkpoint_of(players, 1, 2.0)
    with torch.no_grad():
        for parameter in players.generator.parameters():
            parameter.add_(1)
    save(store, found)
    before = tiny_players().generator.state_dict()
    assert all(
        torch.equal(value, before[name]) for name, value in latest(store).state["generator"].items()
    )


def test_an_empty_store_has_no_checkpoint(tmp_path):
    assert latest(LocalStore(tmp_path)) is None


def test_the_card_says_what_was_done_and_the_folder_loads(make, split, tmp_path):
    session = make()
    outcome = session.run()
    told = card(TINY, *split, outcome, seed=3, source="squares", guide="toy")
    for words in ("6 dark, 6 lit", "squares", "3.0 of 3", "guide 1", "toy"):
        assert words in told
    store = LocalStore(tmp_path / "card")
    write_translator(store, session.generator, LABELS, told, training={})
    translator = load_translator(tmp_path / "card")
    assert equal(weights(session), list(translator.generator.state_dict().values()))
