"""A translator apart from the classifier: what its replica does, and what stands for it elsewhere.

Free of Ray: `translator_replica` puts the first into a replica, and a handle behind the second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

import torch

from xaiserve.errors import ClassifierFaultError, InvalidInputError, ModelUnavailableError
from xaiserve.models.translator import Translator
from xaiserve.types import Images

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorCard:
    """What a translator says of itself."""

    labels: tuple[str, ...]
    side: int
    channels: int
    digest: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TranslateRequest:
    """Pictures of one caller, with a target class each."""

    images: Images
    targets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.targets)


Translated = Images | InvalidInputError | ClassifierFaultError
"""Pictures, or what is wrong with this caller's."""


class TranslatorServer:
    """Translate the pictures of many callers together."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    def card(self) -> TranslatorCard:
        """Describe the translator."""
        known = self._translator
        return TranslatorCard(
            labels=tuple(known.labels),
            side=known.side,
            channels=known.channels,
            digest=known.digest,
        )

    def translate(self, requests: Sequence[TranslateRequest]) -> list[Translated]:
        """Answer all requests, in order; what is wrong with one is its own answer."""
        try:
            return list(self._together(requests))
        except (InvalidInputError, ClassifierFaultError) as error:
            if len(requests) == 1:
                return [error]
            return [self.translate([request])[0] for request in requests]

    def _together(self, requests: Sequence[TranslateRequest]) -> Sequence[Images]:
        shapes = {request.images.shape[1:] for request in requests}
        if len(shapes) > 1:
            raise InvalidInputError("images of one batch must have one size")
        images = torch.cat([request.images for request in requests])
        targets = [target for request in requests for target in request.targets]
        drawn = self._translator.translate(images, targets)
        ends = list(accumulate(len(request) for request in requests))
        # Copies: a view would take the whole batch along to every caller.
        return [
            drawn[end - len(request) : end].clone()
            for request, end in zip(requests, ends, strict=True)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class RemoteTranslator:
    """A translator elsewhere, for threads beside the event loop that its answers come to.

    Parameters
    ----------
    title
        What people call it.
    card
        What it says of itself.
    ask
        Sends one request, on ``loop``.
    loop
        Runs in another thread than the callers'.
    batch_images
        Pictures in one request, at most.
    timeout_s
        How long an answer may take.
    """

    title: str
    card: TranslatorCard
    ask: Callable[[TranslateRequest], Awaitable[Translated]]
    loop: asyncio.AbstractEventLoop
    batch_images: int
    timeout_s: float

    @property
    def labels(self) -> Sequence[str]:
        return self.card.labels

    @property
    def side(self) -> int:
        return self.card.side

    @property
    def channels(self) -> int:
        return self.card.channels

    @property
    def digest(self) -> str:
        return self.card.digest

    def target(self, label: str) -> int:
        """See `Translator.target`."""
        if label not in self.card.labels:
            raise InvalidInputError(
                f"translator {self.title!r} has the classes {' and '.join(self.labels)}, "
                f"got {label!r}"
            )
        return self.card.labels.index(label)

    def translate(self, images: Images, target: int | Sequence[int]) -> Images:
        """See `Translator.translate`.

        Raises
        ------
        ModelUnavailableError, CapacityError
            No replica answers, or not in time; or they are full.
        """
        targets = [target] * len(images) if isinstance(target, int) else list(target)
        size = self.batch_images
        requests = [
            TranslateRequest(images=part, targets=tuple(targets[start : start + size]))
            for start, part in zip(
                range(0, len(images), size), torch.split(images, size), strict=True
            )
        ]
        parts = wait_from_thread(self._all(requests), self.loop, self.timeout_s, self.title)
        return torch.cat(parts)

    async def _all(self, requests: Sequence[TranslateRequest]) -> list[Images]:
        answers = await asyncio.gather(*map(self.ask, requests))
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [answer for answer in answers if isinstance(answer, torch.Tensor)]


def wait_from_thread(
    answer: Coroutine[Any, Any, T],  # Any: what only the loop sends and receives
    loop: asyncio.AbstractEventLoop,
    seconds: float,
    title: str,
) -> T:
    """Wait, on a thread that is not the loop's, for an answer that comes to the loop.

    Raises
    ------
    ModelUnavailableError
        It did not come in time.
    """
    future = asyncio.run_coroutine_threadsafe(answer, loop)
    try:
        return future.result(seconds)
    except TimeoutError:
        future.cancel()
        raise ModelUnavailableError(
            f"translator {title!r} did not answer in {seconds:g} s"
        ) from None
