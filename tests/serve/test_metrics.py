"""What is counted, logged and traced of requests whose course is known."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.serve.conftest import BUDGET, QUEUE, UPLOADS, Toy
from xaiserve.errors import CapacityError, InvalidInputError
from xaiserve.explainers.baselines.occlusion import Occlusion
from xaiserve.perturb.ticket import Limits, Ticket
from xaiserve.serve.access.guard import Guard
from xaiserve.serve.access.keys import add_key, make_key, utc_now
from xaiserve.serve.incoming.requests import ExplainRequest, PredictRequest, Upload
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.observing import tracing
from xaiserve.serve.observing.logs import JsonLines, TextLines, configure_logs
from xaiserve.serve.observing.metrics import METRICS
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.replicas.watching import Explaining, Watch
from xaiserve.serve.service import Service
from xaiserve.serve.settings import Logs, Tracing
from xaiserve.testing.meters import MemoryMeter

CELLS = 3
OCCLUSION_INPUTS = CELLS**2 + 1
"""One per hidden cell, and the whole picture."""


@pytest.fixture
def meter() -> MemoryMeter:
    return MemoryMeter()


@pytest.fixture
def watched(toy: Toy, meter: MemoryMeter) -> Iterator[ClassifierServer]:
    made = ClassifierServer(
        toy.classifier,
        queue=QUEUE,
        limits=UPLOADS.limits,
        draw=lambda *_, **__: b"drawn",
        meter=meter,
    )
    yield made
    made.close()


@pytest_asyncio.fixture
async def client(
    watched: ClassifierServer, meter: MemoryMeter, tmp_path
) -> AsyncIterator[httpx.AsyncClient]:
    text, key = make_key("viewer", now=utc_now())
    add_key(tmp_path / "keys.json", key)
    service = Service(models={"toy": watched}, uploads=UPLOADS, budget=BUDGET)
    app = build_ingress(service, guard=Guard(tmp_path / "keys.json"), meter=meter)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {text}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://t", headers=headers) as made:
        yield made


def explain(toy: Toy, **options: object) -> ExplainRequest:
    given = {"explainer": Occlusion(cells=CELLS), "limits": Limits(max_seconds=20), **options}
    return ExplainRequest(upload=Upload(data=toy.png), **given)


async def test_model_inputs_are_those_that_the_model_has_seen(
    toy: Toy, watched: ClassifierServer, meter: MemoryMeter
):
    await watched.explain(explain(toy))
    await watched.predict(PredictRequest(upload=Upload(data=toy.png)))

    assert meter.counts["xaiserve_model_inputs", toy.classifier.name] == toy.classifier.rows
    assert toy.classifier.rows == OCCLUSION_INPUTS + 2
    assert meter.counts["xaiserve_batches", toy.classifier.name] == toy.classifier.calls
    room = toy.classifier.calls * toy.classifier.batch_rows
    assert meter.counts["xaiserve_batch_room", toy.classifier.name] == room


async def test_each_end_of_an_explanation_has_its_outcome(
    toy: Toy, watched: ClassifierServer, meter: MemoryMeter
):
    await watched.explain(explain(toy))
    with pytest.raises(InvalidInputError):
        await watched.explain(explain(toy, target="9"))
    going = asyncio.ensure_future(watched.explain(explain(toy, explainer=Occlusion(cells=20))))
    await asyncio.sleep(0)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going

    model = toy.classifier.name
    assert {key[3]: count for key, count in meter.counts.items() if "explanations" in key[0]} == {
        "explained": 1,
        "refused": 1,
        "cancelled": 1,
    }
    assert len(meter.seen["xaiserve_explanation_seconds", model, "occlusion"]) == 3
    assert len(meter.seen["xaiserve_queue_seconds", model]) == 3
    assert meter.values["xaiserve_plans_in_flight", model] == 0


async def test_requests_are_counted_by_route_and_what_clients_make_up_is_no_label(
    client: httpx.AsyncClient, meter: MemoryMeter
):
    await client.get("/v1/models/toy")
    await client.get("/v1/models/other")
    for path in ("/absent", "/v1/made/up", "/v1/models"):
        await client.request("BREW" if path == "/absent" else "GET", path)
    for path in ("/v1/models/toy", "/v1/models/toy:explain", "/v1/secret"):
        await client.get(path, headers={"Authorization": ""})

    requests = {key[1:]: n for key, n in meter.counts.items() if key[0] == "xaiserve_requests"}
    assert requests == {
        ("/v1/models/{name}", "GET", "200"): 1,
        ("/v1/models/{name}", "GET", "404"): 1,
        ("none", "none", "404"): 1,
        ("none", "GET", "404"): 1,
        ("/v1/models", "GET", "200"): 1,
        ("/v1/models/{name}", "GET", "401"): 1,
        ("/v1/models/{name}:explain", "GET", "401"): 1,
        ("none", "GET", "401"): 1,
    }


async def test_inputs_to_come_are_those_of_a_recent_explanation_less_what_was_asked(
    toy: Toy, watched: ClassifierServer
):
    assert watched.pending_inputs == 0
    for _ in range(40):
        await watched.explain(explain(toy))
    assert watched._watch._typical == pytest.approx(OCCLUSION_INPUTS, rel=0.02)

    tasks = [asyncio.ensure_future(watched.explain(explain(toy))) for _ in range(3)]
    await asyncio.sleep(0)  # all three are there, and none has asked
    assert watched.pending_inputs == pytest.approx(3 * OCCLUSION_INPUTS, rel=0.02)
    await asyncio.gather(*tasks)
    assert watched.pending_inputs == 0


def test_an_explanation_counts_less_as_it_asks_and_a_quarter_at_least():
    seen = Explaining()
    assert seen.to_come(1000) == 1000
    seen.ticket = Ticket("a search", Limits(), lambda _: None, interactive=True)
    seen.ticket.charge(600, 0.1)
    assert seen.to_come(1000) == 400
    seen.ticket.charge(5000, 0.1)
    assert seen.to_come(1000) == 250


def test_names_are_unique_and_say_what_they_are():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("xaiserve_")
        assert (metric.kind == "histogram") == bool(metric.bounds)
        assert list(metric.bounds) == sorted(metric.bounds)
        assert not set(metric.labels) & {"key", "image", "request_id", "target"}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What our loggers write as JSON."""
    stream, logger = io.StringIO(), logging.getLogger("xaiserve")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_a_request_and_its_explanation_are_a_line_each_with_one_id(
    client: httpx.AsyncClient, toy: Toy, written: io.StringIO
):
    await client.post(
        "/v1/explain?model=toy&method=occlusion&cells=3",
        files={"image": ("John Doe 1970.png", toy.png)},
        headers={"X-Request-ID": "run-7"},
    )

    explained, asked = map(json.loads, written.getvalue().splitlines())
    assert (explained["message"], asked["message"]) == ("explanation", "request")
    assert explained["request_id"] == asked["request_id"] == "run-7"
    assert (explained["outcome"], explained["explainer"]) == ("explained", "occlusion")
    assert explained["model_inputs"] == OCCLUSION_INPUTS
    assert (asked["path"], asked["method"], asked["status"]) == ("/v1/explain", "POST", 200)
    assert set(asked) == {
        *("time", "level", "logger", "message", "request_id"),
        *("method", "path", "status", "seconds", "key"),
    }


async def test_no_line_holds_a_key_a_file_name_or_a_query(
    client: httpx.AsyncClient, toy: Toy, written: io.StringIO
):
    secret = client.headers["authorization"].rpartition("_")[2]
    files = {"image": ("John Doe.png", toy.png)}
    for path in ("/v1/predict?model=toy&range=secret", "/v1/predict?model=toy", "/a?token=secret"):
        await client.post(path, files=files)

    assert len(written.getvalue().splitlines()) == 3
    for word in (secret, "John", "secret"):
        assert word not in written.getvalue()


def test_a_failure_is_one_json_line_with_its_trace():
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("xaiserve.a", logging.ERROR, __file__, 1, "a\nb %s", (7,), info)

    line = JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["level"], told["message"]) == ("ERROR", "a\nb 7")
    assert "ZeroDivisionError" in told["exception"]
    assert TextLines().format(record).splitlines()[-1].startswith("ZeroDivisionError")


def test_lines_go_to_standard_error_once(capsys: pytest.CaptureFixture[str]):
    logger = logging.getLogger("xaiserve")
    before = (logger.handlers, logger.level, logger.propagate)
    try:
        for _ in range(2):
            configure_logs(Logs(level="INFO"))
        logging.getLogger("xaiserve.requests").info("request", extra={"fields": {"status": 200}})
        logging.getLogger("xaiserve.requests").debug("unseen")
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("INFO xaiserve.requests: request status=200")
    finally:
        logger.handlers, _, logger.propagate = before
        logger.setLevel(before[1])


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a provider of this test alone exports."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == f"xaiserve.{name}"]


async def test_an_explanation_is_a_span_with_load_plan_and_batches_below(
    toy: Toy, watched: ClassifierServer, spans: InMemorySpanExporter
):
    await watched.explain(explain(toy))

    ((explained,), (plan,), (load,)) = (named(spans, name) for name in ("explain", "plan", "load"))
    batches = named(spans, "batch")
    assert plan.parent.span_id == load.parent.span_id == explained.context.span_id
    assert {batch.parent.span_id for batch in batches} == {plan.context.span_id}
    assert sum(batch.attributes["xaiserve.rows"] for batch in batches) == OCCLUSION_INPUTS
    assert explained.attributes["xaiserve.outcome"] == "explained"
    assert all(plan.start_time <= batch.start_time <= batch.end_time for batch in batches)


def test_a_batch_of_several_plans_is_linked_to_all_of_them(spans: InMemorySpanExporter):
    batches = tracing.Batches()
    tickets = [Ticket(name, Limits(), lambda _: None, interactive=True) for name in "abc"]
    for ticket in tickets[:2]:
        with tracing.span("plan") as plan:
            batches.follow(ticket, plan)
    batches.note(tickets, 5, 0.25)

    first, second = named(spans, "plan")
    (batch,) = named(spans, "batch")
    assert batch.parent.span_id == first.context.span_id
    assert [link.context.span_id for link in batch.links] == [second.context.span_id]
    assert batch.end_time - batch.start_time == 250_000_000


async def test_without_a_provider_nothing_is_kept(toy: Toy, watched: ClassifierServer):
    await watched.explain(explain(toy))

    assert len(watched._searches._batches._plans) == 0


def test_the_settings_are_what_serve_takes():
    assert tracing.service_tracing(None) is None
    taken = tracing.service_tracing(Tracing(sampling_ratio=1))
    assert taken == {
        "enabled": True,
        "exporter_import_path": "xaiserve.serve.observing.tracing:otlp_exporters",
        "sampling_ratio": 1,
    }


def test_the_exporter_of_the_extra_is_one_that_serve_accepts():
    (processor,) = tracing.otlp_exporters()
    processor.shutdown()


def test_a_full_queue_counts_as_refused(meter: MemoryMeter):
    with pytest.raises(CapacityError), Watch("toy", meter).explanation("rise"):
        raise CapacityError("full", retry_after_s=1)
    assert meter.counts["xaiserve_explanations", "toy", "rise", "refused"] == 1
