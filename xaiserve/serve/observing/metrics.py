"""What the service counts; with what jobs count, one table of names.

Ray's exporters publish them: a ``/metrics`` of ours would show one process of many.
"""

from typing import Final

from xaiserve.dispatch.metrics import JOB_ROWS, Metric

_SHORT: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_MODEL: Final = ("model",)

REQUESTS: Final = Metric(
    name="xaiserve_requests",
    kind="counter",
    about="HTTP requests answered.",
    labels=("path", "method", "status"),
)
REQUEST_SECONDS: Final = Metric(
    name="xaiserve_request_seconds",
    kind="histogram",
    about="Seconds from an HTTP request to the end of its answer.",
    labels=("path",),
    bounds=_LONG,
)
EXPLANATIONS: Final = Metric(
    name="xaiserve_explanations",
    kind="counter",
    about="Explanations ended: explained, incomplete, none, refused, failed or cancelled.",
    labels=("model", "explainer", "outcome"),
)
EXPLANATION_SECONDS: Final = Metric(
    name="xaiserve_explanation_seconds",
    kind="histogram",
    about="Seconds from a request to its explanation, waiting included.",
    labels=("model", "explainer"),
    bounds=_LONG,
)
QUEUE_SECONDS: Final = Metric(
    name="xaiserve_queue_seconds",
    kind="histogram",
    about="Seconds that explanations waited for a place.",
    labels=_MODEL,
    bounds=_SHORT,
)
QUEUE_LENGTH: Final = Metric(
    name="xaiserve_queue_length",
    kind="gauge",
    about="Explanations that wait for a place.",
    labels=_MODEL,
)
PLANS: Final = Metric(
    name="xaiserve_plans_in_flight",
    kind="gauge",
    about="Plans at work in the engine.",
    labels=_MODEL,
)
PENDING_INPUTS: Final = Metric(
    name="xaiserve_pending_inputs",
    kind="gauge",
    about="Model inputs to come, as far as can be told: what autoscaling goes by.",
    labels=_MODEL,
)
MODEL_INPUTS: Final = Metric(
    name="xaiserve_model_inputs",
    kind="counter",
    about="Model inputs (rows) scored.",
    labels=_MODEL,
)
REPEATED_QUESTIONS: Final = Metric(
    name="xaiserve_repeated_questions",
    kind="counter",
    about="Questions answered from what a plan had asked before.",
    labels=_MODEL,
)
BATCHES: Final = Metric(
    name="xaiserve_batches", kind="counter", about="Batches begun.", labels=_MODEL
)
BATCH_ROOM: Final = Metric(
    name="xaiserve_batch_room",
    kind="counter",
    about="Model inputs that the batches begun had room for; filled by xaiserve_model_inputs.",
    labels=_MODEL,
)
MODEL_SECONDS: Final = Metric(
    name="xaiserve_model_seconds",
    kind="counter",
    about="Seconds spent in the model.",
    labels=_MODEL,
)
RESULT_CACHE: Final = Metric(
    name="xaiserve_result_cache",
    kind="counter",
    about="Explanations looked up in the result cache: hit or miss.",
    labels=("model", "outcome"),
)
MODEL_LOADS: Final = Metric(
    name="xaiserve_model_loads",
    kind="counter",
    about="Models loaded on demand: loaded or failed.",
    labels=("model", "outcome"),
)
MODEL_EVICTIONS: Final = Metric(
    name="xaiserve_model_evictions",
    kind="counter",
    about="Models put away to make room for another.",
    labels=_MODEL,
)
RESIDENT_BYTES: Final = Metric(
    name="xaiserve_resident_bytes",
    kind="gauge",
    about="Bytes of the models loaded on demand, as the memory budget counts them.",
)

METRICS: Final = (
    *(REQUESTS, REQUEST_SECONDS, EXPLANATIONS, EXPLANATION_SECONDS, QUEUE_SECONDS, QUEUE_LENGTH),
    *(PLANS, PENDING_INPUTS, MODEL_INPUTS, REPEATED_QUESTIONS, BATCHES, BATCH_ROOM, MODEL_SECONDS),
    *(RESULT_CACHE, MODEL_LOADS, MODEL_EVICTIONS, RESIDENT_BYTES, JOB_ROWS),
)
