import asyncio
import threading
from pathlib import Path

import httpx
import pytest
from fastapi import Response

from tests.serve.conftest import Toy
from tests.serve.test_results import ASKED, Clock, fetched, running
from xaiserve.errors import ConflictError, InvalidInputError
from xaiserve.serve.kept.idempotency import Replays
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.storage.local import LocalStore

KEY = {"idempotency-key": "7c4a8d09"}


async def post(
    client: httpx.AsyncClient, png: bytes, headers: dict[str, str] = KEY, **options: str
) -> httpx.Response:
    return await client.post(
        "/v1/explain",
        params={**ASKED, **options},
        files={"image": ("a.png", png)},
        headers=headers,
    )


async def test_the_same_request_with_the_same_key_gets_the_same_bytes(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    async with running(server, tmp_path) as client:
        first = await post(client, toy.png)
        again = await post(client, toy.png)
        quoted = await post(client, toy.png, {"idempotency-key": '"7c4a8d09"'})

    assert first.status_code == 200
    assert "idempotency-replayed" not in first.headers
    assert [one.content for one in (again, quoted)] == [first.content] * 2
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]


@pytest.mark.parametrize("other", [{"seed": "1"}, {"async": "true"}, {"max_inputs": "100"}])
async def test_another_request_with_the_same_key_is_refused(
    toy: Toy, server: ClassifierServer, tmp_path: Path, other: dict[str, str]
):
    async with running(server, tmp_path) as client:
        await post(client, toy.png)
        answer = await post(client, toy.png, **other)

    assert answer.status_code == 422
    assert "another request" in answer.json()["detail"]


async def test_a_result_that_comes_later_is_accepted_once(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    later = {"async": "true"}
    async with running(server, tmp_path) as client:
        both = [await post(client, toy.png, **later) for _ in range(2)]
        await fetched(client, both[0].headers["location"])
        listed = (await client.get("/v1/results")).json()["results"]

    assert both[0].headers["location"] == both[1].headers["location"]
    assert len(listed) == 1


async def test_an_error_leaves_the_key_free(toy: Toy, server: ClassifierServer, tmp_path: Path):
    async with running(server, tmp_path) as client:
        wrong = await post(client, b"no picture")
        right = await post(client, toy.png)

    assert (wrong.status_code, right.status_code) == (415, 200)


@pytest.mark.parametrize(
    ("headers", "options"),
    [
        ({"idempotency-key": "a b"}, {}),
        ({"idempotency-key": "x" * 256}, {}),
        (KEY, {"stream": "1"}),
    ],
)
async def test_what_is_no_key_or_cannot_be_repeated_is_refused(
    toy: Toy, server: ClassifierServer, tmp_path: Path, headers: dict, options: dict
):
    async with running(server, tmp_path) as client:
        assert (await post(client, toy.png, headers, **options)).status_code == 422


def replays(folder: Path, clock: Clock) -> Replays:
    return Replays(LocalStore(folder), keep_s=100, clock=clock)


async def made() -> Response:
    return Response("made", media_type="text/plain")


async def test_while_the_first_is_worked_on_the_second_is_a_conflict(tmp_path: Path):
    clock, begun, release = Clock(), asyncio.Event(), asyncio.Event()
    kept = replays(tmp_path, clock)

    async def slow() -> Response:
        begun.set()
        await release.wait()
        return await made()

    first = asyncio.ensure_future(kept.once("key", "asked", 5, slow))
    await begun.wait()
    with pytest.raises(ConflictError, match="still worked on"):
        await kept.once("key", "asked", 5, made)
    with pytest.raises(InvalidInputError, match="another request"):
        await kept.once("key", "other", 5, made)
    release.set()

    assert (await first).body == (await kept.once("key", "asked", 5, made)).body


async def test_a_key_whose_holder_has_died_is_free_when_its_time_is_over(tmp_path: Path):
    clock = Clock()
    kept = replays(tmp_path, clock)
    kept._take("key", "asked", 5)
    clock.now += 6

    assert (await kept.once("key", "asked", 5, made)).body == b"made"


async def test_whoever_hangs_up_leaves_the_key_free(tmp_path: Path):
    kept = replays(tmp_path, Clock())
    begun = asyncio.Event()

    async def endless() -> Response:
        begun.set()
        return await asyncio.Event().wait()

    first = asyncio.ensure_future(kept.once("key", "asked", 5, endless))
    await begun.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    assert (await kept.once("key", "asked", 5, made)).body == b"made"


async def test_a_key_that_was_kept_long_enough_may_be_used_for_anything(tmp_path: Path):
    clock = Clock()
    kept = replays(tmp_path, clock)
    await kept.once("key", "asked", 5, made)
    clock.now += 101

    assert (await kept.once("key", "other", 5, made)).headers.get("idempotency-replayed") is None


async def test_answers_of_old_keys_are_swept_up(tmp_path: Path):
    clock = Clock()
    await replays(tmp_path, clock).once("key", "asked", 5, made)
    clock.now = LocalStore(tmp_path).describe()[0].modified + 101
    replays(tmp_path, clock).sweep()

    assert not LocalStore(tmp_path).list()


class Held(LocalStore):
    """A store whose next write of a kind of file waits until it is let go."""

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder)
        self._kind = kind
        self.reached, self.go_on = threading.Event(), threading.Event()

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        if key.endswith(self._kind) and not self.go_on.is_set():
            self.reached.set()
            self.go_on.wait(30)
        super().write(key, data, create_only=create_only)


@pytest.mark.parametrize("kind", [".json", ".answer"])
async def test_whoever_hangs_up_while_something_is_written_leaves_the_key_free(
    tmp_path: Path, kind: str
):
    store = Held(tmp_path, kind)
    kept = Replays(store, keep_s=100, clock=Clock())
    first = asyncio.ensure_future(kept.once("key", "asked", 50, made))
    await asyncio.to_thread(store.reached.wait, 30)
    first.cancel()
    await asyncio.sleep(0)  # the cancellation is there before the write has ended
    store.go_on.set()
    await asyncio.gather(first, return_exceptions=True)

    assert not LocalStore(tmp_path).list()
    again = [await kept.once("key", "other", 50, other) for _ in range(2)]
    assert [each.body for each in again] == [b"other"] * 2


async def other() -> Response:
    return Response("other", media_type="text/plain")


async def test_an_answer_without_its_claim_is_nobodys(tmp_path: Path):
    kept = replays(tmp_path, Clock())
    await kept.once("key", "asked", 5, made)
    (claim,) = [name for name in LocalStore(tmp_path).list() if name.endswith(".json")]
    LocalStore(tmp_path).remove(claim)  # swept up: it is older than its answer

    again = [await kept.once("key", "other", 5, other) for _ in range(2)]
    assert [each.body for each in again] == [b"other"] * 2
