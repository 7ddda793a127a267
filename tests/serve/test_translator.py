"""A translator apart from the classifier: batches of many callers, and waiting for them."""

import asyncio
import math
import threading
from collections.abc import Iterator

import pytest
import torch

from xaiserve.errors import ClassifierFaultError, InvalidInputError, ModelUnavailableError
from xaiserve.models.translator import Translator
from xaiserve.serve.replicas.translator import (
    RemoteTranslator,
    TranslateRequest,
    TranslatorServer,
    wait_from_thread,
)
from xaiserve.testing.toys import toy_image
from xaiserve.testing.translators import ShadeTranslator


def images(count: int) -> torch.Tensor:
    return torch.stack([toy_image(seed=seed) for seed in range(count)])


def request(count: int, target: int = 0) -> TranslateRequest:
    return TranslateRequest(images=images(count), targets=(target,) * count)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own, as in a replica."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


def remote(server: TranslatorServer, loop: asyncio.AbstractEventLoop, **given) -> RemoteTranslator:
    async def ask(asked: TranslateRequest):
        return server.translate([asked])[0]

    options = {"ask": ask, "batch_images": 3, "timeout_s": 5.0} | given
    return RemoteTranslator(title="far", card=server.card(), loop=loop, **options)


def test_requests_of_many_callers_are_drawn_together_and_go_back_apart():
    translator = ShadeTranslator()
    answers = TranslatorServer(translator).translate([request(2), request(1, target=1), request(3)])

    assert translator.asked == [6]
    assert [len(answer) for answer in answers] == [2, 1, 3]
    assert torch.equal(answers[1], ShadeTranslator().translate(images(1), 1))
    assert torch.equal(answers[2], ShadeTranslator().translate(images(3), 0))


def test_what_is_wrong_with_one_request_is_its_own_answer():
    black = TranslateRequest(images=torch.zeros(1, 3, 24, 24), targets=(0,))
    good, refused = TranslatorServer(ShadeTranslator()).translate([request(2), black])

    assert len(good) == 2
    assert isinstance(refused, InvalidInputError)


def test_a_remote_translator_is_one_and_draws_what_the_one_here_draws(loop):
    far = remote(TranslatorServer(ShadeTranslator()), loop)
    here = ShadeTranslator()

    assert isinstance(far, Translator)
    assert (far.labels, far.side, far.channels) == (here.labels, here.side, here.channels)
    assert far.digest == here.digest
    assert far.target("evidence") == 1
    assert torch.equal(
        far.translate(images(7), [0, 1] * 3 + [0]), here.translate(images(7), [0, 1] * 3 + [0])
    )
    with pytest.raises(InvalidInputError, match="has the classes nothing and evidence"):
        far.target("cat")


def test_no_request_is_larger_than_a_batch(loop):
    near = ShadeTranslator()
    remote(TranslatorServer(near), loop).translate(images(7), 0)

    assert sorted(near.asked) == [1, 3, 3]


def test_an_error_that_comes_back_is_raised(loop):
    class Broken(ShadeTranslator):
        def translate(self, images, target):  # noqa: ARG002
            raise ClassifierFaultError("answered with NaN")

    with pytest.raises(ClassifierFaultError, match="NaN"):
        remote(TranslatorServer(Broken(shades=(math.nan, 1))), loop).translate(images(1), 0)


def test_an_answer_that_does_not_come_in_time_is_unavailable(loop):
    async def never(_: TranslateRequest):
        await asyncio.sleep(60)

    far = remote(TranslatorServer(ShadeTranslator()), loop, ask=never, timeout_s=0.05)
    with pytest.raises(ModelUnavailableError, match=r"'far' did not answer in 0\.05 s"):
        far.translate(images(1), 0)


def test_waiting_gives_what_the_loop_gives(loop):
    async def answer() -> int:
        return 7

    assert wait_from_thread(answer(), loop, 1.0, "far") == 7
