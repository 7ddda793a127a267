import asyncio
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
