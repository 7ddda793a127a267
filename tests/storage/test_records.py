"""Dataclasses survive Arrow, whatever their fields."""

import dataclasses
import datetime as dt
import math
import pickle
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32
from torch import Tensor

from xaiserve.storage.records import (
    RowFormat,
    TaskRow,
    from_rows,
    schema_of,
    to_rows,
    to_table,
)
from xaiserve.types import Labels, Region, Saliency


@dataclass(frozen=True, kw_only=True)
class Part:
    mask: Region
    confidence: float
    kind: Literal["global", "spotlight"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    image_id: str
    target: int
    saliency: Saliency
    parts: tuple[Part, ...] = ()
    selected: tuple[int, ...] = ()
    bounds: tuple[float, float] = (0.0, 1.0)
    trivial: bool = False
    map2: Saliency | None = None
    note: str | None = None
    segments: Labels | None = None
    weights: Float32[Tensor, " n"] | None = None
    regions: tuple[Region, ...] = ()
    derived: int = field(default=0)


@dataclass(frozen=True)
class Placement:
    top: int
    scale: float


FORMAT = RowFormat(Result, Placement)


def result(**changes: object) -> Result:
    values: dict[str, object] = {"image_id": "i", "target": 3, "saliency": torch.zeros(2, 3)}
    return Result(**(values | changes))


def task(**changes: object) -> TaskRow:
    base = TaskRow(
        task_id="t",
        row_id="r",
        result_id="x",
        image_uri="s3://b/i.jpg",
        image_name="i.jpg",
        image_sha256="00",
        model_name="m",
        model_digest="11",
        method="rise",
        method_version=1,
        params_json="{}",
        seed=0,
        status="ok",
        target=3,
        target_label="crane",
        confidence=0.5,
        frame=Placement(1, 0.5),
        height=2,
        width=3,
        xaiserve_version="0.1.0",
        created_at=dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC),
    )
    return dataclasses.replace(base, **changes)


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and type(a) is type(b)


# Powers of two and sums of few of them are exact in float16.
EXACT = st.sampled_from([0.0, 1.0, -1.0, 0.5, 0.0625, 1024.0, -3.25])
SIDES = st.integers(1, 3)


@st.composite
def maps(draw: st.DrawFn) -> Tensor:
    h, w = draw(SIDES), draw(SIDES)
    return torch.tensor(draw(st.lists(EXACT, min_size=h * w, max_size=h * w))).view(h, w)


@st.composite
def regions(draw: st.DrawFn) -> Tensor:
    h, w = draw(SIDES), draw(SIDES)
    values = draw(st.binary(min_size=h * w, max_size=h * w))
    return torch.tensor([value & 1 for value in values], dtype=torch.bool).view(h, w)


PARTS = st.builds(
    Part,
    mask=regions(),
    confidence=st.floats(allow_nan=False),
    kind=st.sampled_from(["global", "spotlight"]),
)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
RESULTS = st.builds(
    Result,
    image_id=st.text(),
    target=INTEGERS,
    saliency=maps(),
    parts=st.lists(PARTS, max_size=3).map(tuple),
    selected=st.lists(INTEGERS, max_size=3).map(tuple),
    bounds=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    trivial=st.booleans(),
    map2=st.none() | maps(),
    note=st.none() | st.text(),
    segments=st.none() | maps().map(lambda values: values.long()),
    weights=st.none() | st.lists(st.floats(width=32, allow_nan=False)).map(torch.tensor),
    regions=st.lists(regions(), max_size=2).map(tuple),
    derived=INTEGERS,
)


@settings(max_examples=25, deadline=None)
@given(results=st.lists(RESULTS, max_size=3))
def test_any_result_survives_a_table(results: list[Result]) -> None:
    table = to_table(results, Result)
    assert table.schema == schema_of(Result)
    back = from_rows(Result, table.to_pylist())
    assert len(back) == len(results)
    assert all(map(same, back, results))


@settings(max_examples=25, deadline=None)
@given(RESULTS)
def test_any_result_survives_a_task_row(found: Result) -> None:
    row = task(target=found.target)
    ((task_back, result_back),) = FORMAT.from_table(FORMAT.to_table([(row, found)]))
    assert task_back == row
    assert same(result_back, found)


@given(
    st.floats(
        width=32, allow_nan=False, allow_infinity=False, min_value=2.0**-100, max_value=2.0**126
    )
)
def test_saliency_of_any_size_keeps_the_precision_of_float16(peak: float) -> None:
    saliency = torch.linspace(-1, 1, 12).view(3, 4) * peak
    (back,) = from_rows(Result, to_rows([result(saliency=saliency)]))
    assert torch.allclose(back.saliency, saliency, rtol=2.0**-11, atol=peak * 2.0**-20)


def test_saliency_of_ordinary_size_is_stored_as_it_is() -> None:
    (row,) = to_rows([result(saliency=torch.tensor([[1.0, -0.25]]))])
    stored = row["saliency"]
    assert (stored["height"], stored["width"], stored["scale"]) == (1, 2, 1.0)
    raw = pa.decompress(stored["data"], decompressed_size=4, codec="zstd", asbytes=True)
    assert np.frombuffer(raw, "<f2").tolist() == [1.0, -0.25]


def test_nan_and_infinity_in_saliency_stay() -> None:
    saliency = torch.tensor([[math.nan, math.inf, -math.inf, 1e-9]])
    (back,) = from_rows(Result, to_rows([result(saliency=saliency)]))
    assert torch.allclose(back.saliency, saliency, rtol=1e-3, equal_nan=True)


def test_masks_are_stored_as_run_lengths_under_a_name_that_says_so() -> None:
    part = Part(mask=torch.tensor([[True, False]]), confidence=1.0, kind="global")
    (row,) = to_rows([result(parts=(part,))])
    assert row["parts"] == [
        {"mask_rle": {"size": [1, 2], "counts": "011"}, "confidence": 1.0, "kind": "global"}
    ]


@pytest.mark.parametrize("status", ["error", "invalid_image", "none"])
def test_a_task_without_a_result_keeps_its_row(status: str) -> None:
    row = task(
        status=status, target=None, confidence=None, target_label=None, frame=None, error_text="e"
    )
    table = FORMAT.to_table([(row, None), (task(), result())])
    (back, nothing), (_, something) = FORMAT.from_table(table)
    assert back == row
    assert nothing is None
    assert something is not None


def test_a_field_that_task_and_result_share_is_stored_once() -> None:
    assert FORMAT.schema.names.count("target") == 1


def test_a_result_that_contradicts_its_task_is_refused() -> None:
    with pytest.raises(ValueError, match="target of task t is 3, its result's 4"):
        FORMAT.to_table([(task(), result(target=4))])


@pytest.mark.parametrize(("status", "found"), [("ok", None), ("error", result())])
def test_a_status_that_contradicts_the_result_is_refused(status: str, found: Result | None) -> None:
    with pytest.raises(ValueError, match="must have a result exactly when it is ok"):
        FORMAT.to_table([(task(status=status), found)])


def test_a_shared_field_of_another_type_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        target: str

    with pytest.raises(TypeError, match=r"Odd\.target must be stored as int64"):
        _ = RowFormat(Odd, Placement).schema


def test_a_format_can_be_pickled_after_use() -> None:
    FORMAT.to_table([(task(), result())])
    assert pickle.loads(pickle.dumps(FORMAT)) == FORMAT  # noqa: S301 our own bytes


@dataclass(frozen=True)
class Loose:
    anything: dict[str, int]


@dataclass(frozen=True)
class Mixed:
    pair: tuple[int, str]


@dataclass(frozen=True)
class Either:
    value: int | str


@dataclass(frozen=True)
class Choice:
    value: Literal["a", 1]


@pytest.mark.parametrize("owner", [Loose, Mixed, Either, Choice])
def test_a_field_that_cannot_be_stored_is_named(owner: type) -> None:
    with pytest.raises(TypeError, match=rf"{owner.__name__}\.\w+: no way to store"):
        schema_of(owner)
