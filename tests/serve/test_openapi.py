"""The interface as its own document describes it, asked by schemathesis: no server errors."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error

from tests.serve.conftest import UPLOADS, make_toy
from tests.serve.test_results import service_of
from xaiserve.serve.config import Queue
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.storage.local import LocalStore

EXAMPLES = 15
"""Per route."""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server = ClassifierServer(
        make_toy().classifier,
        queue=Queue(),
        limits=UPLOADS.limits,
        draw=lambda *_, **__: b"",
    )
    service = service_of(server, LocalStore(tmp_path_factory.mktemp("kept")))
    yield schemathesis.openapi.from_asgi("/openapi.json", build_ingress(service))
    server.close()


@pytest.mark.slow
@pytest.mark.filterwarnings(
    # Not of a strategy: some library asks Python's generator while cases are drawn.
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)
def test_no_route_fails_whatever_the_document_allows(document: Any):
    routes = [found.ok() for found in document.get_all_operations()]
    for route in routes:
        check(route)
    assert len(routes) > 15


def check(route: Any) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=route.as_strategy())
    def fails_never(case: Any) -> None:
        # Names that exist, or every question would end at the first line.
        if "{name}" in route.path and "results" not in route.path:
            case.path_parameters["name"] = "occlusion" if "methods" in route.path else "toy"
        if "model" in (case.query or {}):
            case.query["model"] = "toy"
        if "method" in (case.query or {}):
            case.query["method"] = "occlusion"
        case.call_and_validate(checks=[not_a_server_error])

    fails_never()
