"""Who is let in: keys, scopes and limits in front of the real routes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.serve.conftest import BUDGET, UPLOADS, Toy
from xaiserve.serve.access.guard import OPEN, REREAD_S, Guard, scopes_of
from xaiserve.serve.access.keys import SCOPES, add_key, make_key, revoke_key
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PREDICT = "/v1/predict?model=toy"
Make = Callable[..., dict[str, str]]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    add_key(path, make_key("first", now=NOW)[1])
    return path


@pytest.fixture
def make(file: Path, clock: Clock) -> Make:
    """Adds a key to the file and returns the header that a client sends."""

    def made(name: str, **limits: object) -> dict[str, str]:
        text, key = make_key(name, now=NOW, **limits)
        add_key(file, key)
        clock.now += REREAD_S
        return {"Authorization": f"Bearer {text}"}

    return made


@pytest_asyncio.fixture
async def client(
    server: ClassifierServer, file: Path, clock: Clock
) -> AsyncIterator[httpx.AsyncClient]:
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    guard = Guard(file, clock=clock, now=lambda: NOW)
    app = build_ingress(service, guard=guard, origins=["https://viewer.example.org"])
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://toy") as made:
        yield made


def is_problem(answer: httpx.Response, status: int, word: str) -> bool:
    body = answer.json()
    return (
        (answer.status_code, body["status"]) == (status, status)
        and answer.headers["content-type"] == "application/problem+json"
        and word in body["detail"]
        and body["request_id"] == answer.headers["x-request-id"]
    )


async def test_health_is_open_and_everything_else_asks_for_a_key(client: httpx.AsyncClient):
    for path in ("/healthz", "/readyz"):
        assert (await client.get(path)).status_code == 200
    for path in ("/v1/models", "/v1/methods", "/docs", "/openapi.json", "/absent", "/healthz/"):
        answer = await client.get(path)
        assert is_problem(answer, 401, "Authorization: Bearer KEY")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_open_inference_protocol_is_refused_in_its_own_form(
    client: httpx.AsyncClient, make: Make
):
    unknown = await client.post("/v2/models/toy/infer", json={})
    reader = make("reader", scopes=["jobs"])
    forbidden = await client.post("/v2/models/toy/infer", json={}, headers=reader)

    assert (unknown.status_code, unknown.headers["www-authenticate"]) == (401, "Bearer")
    assert unknown.json() == {"error": "send 'Authorization: Bearer KEY'"}
    assert forbidden.status_code == 403
    assert "lacks the scope predict" in forbidden.json()["error"]
    assert (await client.get("/v2/health/live")).json() == {"live": True}


@pytest.mark.parametrize("sent", ["Bearer", "Bearer ", "Bearer xai_000000000000_guess", "Basic a"])
async def test_what_is_no_key_opens_nothing(client: httpx.AsyncClient, sent: str):
    answer = await client.get("/v1/models", headers={"Authorization": sent})

    assert answer.status_code == 401


async def test_a_key_opens_what_its_scope_names(client: httpx.AsyncClient, toy: Toy, make: Make):
    viewer = make("viewer", scopes=["predict"])
    predicted = await client.post(PREDICT, files={"image": toy.png}, headers=viewer)
    explained = await client.post(
        "/v1/explain?model=toy&method=occlusion", files={"image": toy.png}, headers=viewer
    )

    assert predicted.json()["decided"][0]["index"] == 1
    assert is_problem(explained, 403, "lacks the scope explain")
    assert (await client.get("/v1/models", headers=viewer)).json() == {"models": ["toy"]}


async def test_a_line_break_behind_a_path_opens_nothing_more(client: httpx.AsyncClient, make: Make):
    anybody = make("viewer", scopes=["predict"])
    assert (await client.get("/v1/models%0A", headers=anybody)).status_code == 200
    explainer = make("explainer", scopes=["explain"])

    refused = await client.post("/v1/predict%0A?model=toy", headers=explainer)

    assert is_problem(refused, 403, "lacks the scope predict for")


async def test_the_log_names_the_key_that_was_refused(
    client: httpx.AsyncClient, toy: Toy, make: Make, caplog: pytest.LogCaptureFixture
):
    viewer = make("viewer", scopes=["explain"])
    with caplog.at_level("INFO", logger="xaiserve.requests"):
        await client.post(PREDICT, files={"image": toy.png}, headers=viewer)

    (told,) = [record.__dict__["fields"] for record in caplog.records]
    assert told["status"] == 403
    assert viewer["Authorization"].split("_")[1] == told["key"]


async def test_a_refused_upload_is_not_read(client: httpx.AsyncClient):
    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        pytest.fail("the body of a request without a key was read")

    answer = await client.post(PREDICT, content=endless(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 401


async def test_a_key_over_its_rate_is_told_when_to_come_back(
    client: httpx.AsyncClient, clock: Clock, make: Make
):
    slow = make("slow", requests_per_s=0.25, burst=2)
    answers = [await client.get("/v1/models", headers=slow) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert is_problem(answers[2], 429, "'slow'")
    assert answers[2].json()["type"].endswith(":key-limit")
    assert answers[2].json()["title"] == "The limit of the API key is reached"
    assert answers[2].headers["retry-after"] == "4"
    clock.now += 4
    assert (await client.get("/v1/models", headers=slow)).status_code == 200


async def test_one_key_at_its_limit_leaves_the_others_alone(
    client: httpx.AsyncClient, toy: Toy, make: Make
):
    one, other = make("one", concurrent=1), make("other")
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        arrived.set()
        await go_on.wait()
        yield toy.png

    sent = {"Content-Type": "image/png"}
    slow = asyncio.ensure_future(client.post(PREDICT, content=body(), headers=one | sent))
    await arrived.wait()
    assert is_problem(await client.get("/v1/models", headers=one), 429, "1 requests in flight")
    assert (await client.get("/v1/models", headers=other)).status_code == 200

    go_on.set()
    assert (await slow).status_code == 200
    assert (await client.get("/v1/models", headers=one)).status_code == 200


async def test_a_revoked_key_ends_with_the_next_look_at_the_file(
    client: httpx.AsyncClient, file: Path, clock: Clock, make: Make
):
    gone = make("gone")
    assert (await client.get("/v1/models", headers=gone)).status_code == 200
    revoke_key(file, "gone", NOW)
    clock.now += REREAD_S

    assert is_problem(await client.get("/v1/models", headers=gone), 401, "revoked")


def damage(file: Path) -> None:
    file.write_text("{")


async def test_a_damaged_file_leaves_the_keys_that_were_read(
    client: httpx.AsyncClient,
    file: Path,
    clock: Clock,
    make: Make,
    caplog: pytest.LogCaptureFixture,
):
    key = make("viewer")
    assert (await client.get("/v1/models", headers=key)).status_code == 200
    damage(file)
    clock.now += REREAD_S

    assert (await client.get("/v1/models", headers=key)).status_code == 200
    assert "the keys read before go on" in caplog.text


def test_every_route_that_changes_something_is_named_by_a_scope(server: ClassifierServer):
    """A route that no pattern names asks for a key with every scope, which few have."""
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    document = build_ingress(service).openapi()
    asked = {
        (verb.upper(), path): scopes_of(verb.upper(), path)
        for path, verbs in document["paths"].items()
        for verb in verbs
    }
    assert asked["POST", "/v1/explain"] == ("explain",)
    assert asked["POST", "/v1/predict"] == ("predict",)
    assert [route for route, scopes in asked.items() if scopes == SCOPES] == []


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/v1/models", ()),
        ("POST", "/v1/models/a:predict", ("predict",)),
        ("POST", "/v1/models/a:explain", ("explain",)),
        ("POST", "/v2/models/a/infer", ("predict",)),
        ("POST", "/v2/models/a/versions/1/infer", ("predict",)),
        ("GET", "/v2/models/a", ()),
        ("GET", "/v1/jobs/7", ("jobs",)),
        ("POST", "/v1/jobs", ("jobs",)),
        ("GET", "/v1/results/7", ("explain",)),
        ("GET", "/v1/jobs\n", ("jobs",)),
        ("GET", "/v1/jobs/7/logs\n", ("jobs",)),
        ("GET", "/v1/jobs/7\n8/logs", ("jobs",)),
        ("GET", "/v1/results\n", ("explain",)),
        ("POST", "/v1/models/a\nb:explain", ("explain",)),
        ("DELETE", "/v1/unheard-of", SCOPES),
    ],
)
def test_the_scope_of_a_path(method: str, path: str, scopes: tuple[str, ...]):
    assert scopes_of(method, path) == scopes


@pytest.mark.parametrize("path", ["/healthz/x", "/v2/health/livex", "//healthz", "/v1/models"])
def test_only_health_is_open(path: str):
    assert OPEN.fullmatch(path) is None


async def test_a_page_of_a_listed_origin_may_ask_and_others_may_not(client: httpx.AsyncClient):
    def asked(origin: str) -> dict[str, str]:
        return {"Origin": origin, "Access-Control-Request-Method": "POST"} | {
            "Access-Control-Request-Headers": "authorization"
        }

    listed = await client.options(PREDICT, headers=asked("https://viewer.example.org"))
    other = await client.options(PREDICT, headers=asked("https://evil.example.org"))

    assert listed.headers["access-control-allow-origin"] == "https://viewer.example.org"
    assert "access-control-allow-origin" not in other.headers


async def test_the_id_of_a_request_comes_back_in_its_problem(client: httpx.AsyncClient):
    named = await client.get("/v1/models", headers={"X-Request-ID": "run-7/a"})
    odd = await client.get("/v1/models", headers={"X-Request-ID": 'a"\\n{'})

    assert named.json()["request_id"] == "run-7/a"
    assert len(odd.json()["request_id"]) == 32
