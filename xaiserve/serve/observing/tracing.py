"""Spans of our own beside those that Ray Serve makes, when its tracing is on.

Serve sets up the exporter in every process and carries the trace from the HTTP request to the
replica (``tracing_config``; `service_tracing` makes it of our settings). Ours say what happened
there: ``load``, ``explain``, ``plan`` and each ``batch`` of the model.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from xaiserve.errors import ModelUnavailableError
from xaiserve.perturb.ticket import Ticket
from xaiserve.serve.settings import Tracing

EXPORTERS: Final = "xaiserve.serve.observing.tracing:otlp_exporters"
"""What Serve calls in each process unless told another function."""

_SCOPE: Final = "xaiserve"


@contextmanager
def span(name: str, **attributes: str | float) -> Iterator[trace.Span]:
    """Do something as a span of the current trace; costs next to nothing when tracing is off."""
    told = {f"xaiserve.{key}": value for key, value in attributes.items()}
    tracer = trace.get_tracer(_SCOPE)
    with tracer.start_as_current_span(f"xaiserve.{name}", attributes=told) as current:
        yield current


class Batches:
    """Makes a span of every batch that holds rows of a traced plan; thread-safe."""

    def __init__(self) -> None:
        self._plans: WeakKeyDictionary[Ticket[Any], trace.SpanContext] = WeakKeyDictionary()

    def follow(self, ticket: Ticket[Any], plan: trace.Span) -> None:
        """Trace the batches of a plan, if its own span is recorded."""
        if plan.is_recording():
            self._plans[ticket] = plan.get_span_context()

    def note(self, tickets: Sequence[Ticket[Any]], rows: int, seconds: float) -> None:
        """Tell of a batch just scored: a child of its first plan's span, linked to the others."""
        if not self._plans:
            return
        plans = [plan for ticket in tickets if (plan := self._plans.get(ticket)) is not None]
        if not plans:
            return
        ended = time.time_ns()
        told = trace.get_tracer(_SCOPE).start_span(
            "xaiserve.batch",
            context=trace.set_span_in_context(trace.NonRecordingSpan(plans[0])),
            links=[trace.Link(other) for other in plans[1:]],
            attributes={"xaiserve.rows": rows, "xaiserve.plans": len(tickets)},
            start_time=ended - int(seconds * 1e9),
        )
        told.end(ended)


def otlp_exporters() -> list[SpanProcessor]:
    """Send spans by OTLP over HTTP to where the variables ``OTEL_EXPORTER_OTLP_*`` say.

    Raises
    ------
    ModelUnavailableError
        The extra ``tracing`` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
    except ImportError as error:
        raise ModelUnavailableError(
            "tracing needs an exporter: pip install 'xaiserve[tracing]'"
        ) from error
    return [BatchSpanProcessor(OTLPSpanExporter())]


def service_tracing(settings: Tracing | None) -> dict[str, Any] | None:  # Any: Serve's own form
    """Put the settings as Serve takes them; none when tracing is off."""
    if settings is None:
        return None
    return {
        "enabled": True,
        "exporter_import_path": settings.exporter or EXPORTERS,
        "sampling_ratio": settings.sampling_ratio,
    }
