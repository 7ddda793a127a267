import inspect
import logging
from collections.abc import AsyncGenerator

import httpx
import pytest

from tests.serve.conftest import BUDGET, UPLOADS, Toy, client_of
from xaiserve import errors
from xaiserve.errors import (
    CapacityError,
    ClassifierFaultError,
    InvalidInputError,
    KeyLimitError,
    ModelUnavailableError,
    NoExplanationError,
    XaiServeError,
)
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.bodies.scores import PredictBody
from xaiserve.serve.bodies.told import Told
from xaiserve.serve.incoming.requests import ExplainRequest, PredictRequest, Scored, ScoreRequest
from xaiserve.serve.problems import ProblemError, problem_of
from xaiserve.serve.service import Service


class Failing:
    """A model of which every question ends in one error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def card(self) -> ModelBody:
        raise self.error

    async def predict(self, request: PredictRequest) -> PredictBody:  # noqa: ARG002
        raise self.error

    async def score(self, request: ScoreRequest) -> Scored:  # noqa: ARG002
        raise self.error

    async def explain(self, request: ExplainRequest) -> ExplainBody:  # noqa: ARG002
        raise self.error

    async def stream(self, request: ExplainRequest) -> AsyncGenerator[Told, None]:
        yield await self.explain(request)


async def answer_to(error: Exception) -> httpx.Response:
    service = Service(models={"toy": Failing(error)}, uploads=UPLOADS, budget=BUDGET)
    async with client_of(service) as client:
        return await client.post(
            "/v1/predict", params={"model": "toy"}, files={"image": b"anything"}
        )


async def test_a_full_service_is_429_and_says_when_to_come_back():
    answer = await answer_to(CapacityError("full", retry_after_s=2.4))

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


async def test_an_absent_model_is_503_and_says_when_to_come_back():
    answer = await answer_to(ModelUnavailableError("gone"))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"] == "gone"


async def test_a_problem_from_another_process_is_passed_on_as_it_is():
    problem = problem_of(InvalidInputError("wrong"))
    answer = await answer_to(ProblemError(problem))

    assert (answer.status_code, answer.json()) == (422, problem.body)


async def test_the_open_inference_protocol_has_errors_of_its_own_form():
    full = Failing(CapacityError("full", retry_after_s=2.4))
    service = Service(models={"toy": full}, uploads=UPLOADS, budget=BUDGET)
    async with client_of(service) as client:
        answer = await client.get("/v2/models/toy/ready")

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json() == {"error": "full"}


async def test_a_fault_is_logged_under_a_reference_and_not_shown(
    caplog: pytest.LogCaptureFixture,
):
    with caplog.at_level(logging.ERROR, logger="xaiserve.serve.problems"):
        answer = await answer_to(RuntimeError("secret of the house"))

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["instance"] in caplog.text
    assert "secret" in caplog.text


async def test_a_failing_model_is_told_apart_from_other_faults():
    answer = await answer_to(ClassifierFaultError("NaN"))

    assert answer.status_code == 500
    assert answer.json()["type"].endswith("model-fault")


async def test_readiness_names_the_models_that_do_not_answer():
    service = Service(
        models={"gone": Failing(ModelUnavailableError("x"))}, uploads=UPLOADS, budget=BUDGET
    )
    async with client_of(service) as client:
        answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()["detail"]) == (503, "not ready: gone")


def test_every_error_of_the_tree_has_a_status_of_its_own_meaning():
    tree = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, XaiServeError) and kind not in {XaiServeError, NoExplanationError}
    ]

    made = {kind.__name__: kind.__new__(kind, "x") for kind in tree}
    for kind in (CapacityError, KeyLimitError):
        made[kind.__name__] = kind("x", retry_after_s=1)
    found = {name: problem_of(error).kind.status for name, error in made.items()}
    assert found == {
        "ArtifactNotFoundError": 404,
        "CapacityError": 429,
        "ClassifierFaultError": 500,
        "ConflictError": 409,
        "InvalidInputError": 422,
        "JobStoppedError": 500,
        "KeyLimitError": 429,
        "ModelUnavailableError": 503,
        "NotFoundError": 404,
        "QueryBudgetError": 429,
        "StoreUnavailableError": 503,
        "TooLargeError": 413,
        "TrainingFailedError": 500,
        "UnsupportedMediaError": 415,
        "UntrustedModelError": 422,
        "WorkerLostError": 500,
    }


async def test_the_routes_hand_on_the_bytes_as_they_came(toy: Toy):
    seen = []

    class Noting(Failing):
        async def predict(self, request: PredictRequest) -> PredictBody:
            seen.append(request.upload.data)
            raise self.error

    service = Service(
        models={"toy": Noting(InvalidInputError("x"))}, uploads=UPLOADS, budget=BUDGET
    )
    async with client_of(service) as client:
        await client.post("/v1/predict", params={"model": "toy"}, files={"image": toy.png})

    assert seen == [toy.png]
