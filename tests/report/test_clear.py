"""The report of CLEAR Image: words, JSON, pictures and page say what the explanation says."""

import base64
import dataclasses
import io
import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from xaiserve.explainers.clear_image import ClearExplanation, ClearImage
from xaiserve.explainers.clear_image.parts import SufficientCause
from xaiserve.models.frame import Frame
from xaiserve.perturb.ticket import Cost
from xaiserve.report.clear.pictures import SEGMENTS_PLACE, hybrid
from xaiserve.report.clear.words import headline, summary
from xaiserve.report.colours import AGAINST, FOR, HEAT
from xaiserve.report.document import explanation_document, without_bulk
from xaiserve.report.drawing import to_picture
from xaiserve.report.gallery import CELL_PX, GAP_PX, Row, gallery
from xaiserve.report.overlays import over_original, overlay_png, sketch
from xaiserve.report.page import Shown, embeddable, explain_page, figures
from xaiserve.report.panels import Panel
from xaiserve.report.subject import Document, Subject
from xaiserve.serve.bodies.clear import ClearDetailsBody
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.storage.rle import rle_to_mask
from xaiserve.testing.clear_explanations import (
    BOXES,
    CONTRAST,
    IMAGE,
    INSIDE,
    SIDE,
    clear_explanation,
    clear_lattice,
    label_map,
)
from xaiserve.testing.toys import patch_classifier, toy_case, toy_image

TWICE = Frame(
    original_height=2 * SIDE,
    original_width=2 * SIDE,
    scaled_height=SIDE,
    scaled_width=SIDE,
    top=0,
    left=0,
    height=SIDE,
    width=SIDE,
)


def subject(**changes: Any) -> Subject:
    image = toy_image()
    classifier = patch_classifier(image, (4, 10, 6, 12))
    case = dataclasses.replace(toy_case(classifier, image), frame=TWICE, name="toy.png")
    given: dict[str, Any] = {
        "classifier": classifier,
        "explainer": ClearImage(),
        "seed": 0,
        "case": case,
        "scores": torch.tensor([[0.07, 0.93]]),
        **changes,
    }
    return Subject(**given)


def document(found: ClearExplanation, *, whole: bool = True, **changes: Any) -> Document:
    return explanation_document(subject(**changes), found, Cost(), whole_map=whole)


@cache
def drawn_once() -> tuple[Panel, ...]:
    return drawn(clear_explanation())


def drawn(found: ClearExplanation, frame: Frame | None = None) -> tuple[Panel, ...]:
    if frame is None:
        case = dataclasses.replace(subject().case, image=IMAGE)
        return sketch(case, found).panels
    picture = to_picture(IMAGE).resize((frame.original_width, frame.original_height))
    return over_original(found, frame, picture).panels


def pixel(panel: Panel, at: tuple[int, int]) -> np.ndarray:
    """Read the panel where pixel ``at`` (row, column) of the model's picture is drawn."""
    values = np.asarray(panel.picture).astype(int)
    scale = values.shape[0] / SIDE
    return values[int((at[0] + 0.5) * scale), int((at[1] + 0.5) * scale)]


def page(found: ClearExplanation, *, keep: tuple[str, ...] = ("values",)) -> str:
    picture = embeddable(to_picture(IMAGE), 64)
    shown = Shown(
        document=without_bulk(document(found), keep=keep),
        original=picture,
        overlay=picture,
        figures=figures([Panel(title="t<1>", picture=to_picture(IMAGE), caption="c")], 64),
    )
    return explain_page([shown])


def words(found: ClearExplanation) -> str:
    return " ".join(summary(found, "pneumonia"))


def test_the_headline_is_the_smallest_counterfactual_and_what_suffices() -> None:
    assert headline(clear_explanation()) == (
        "replace segment 1: 0.930 -> 0.310, predicted 0.290; 2 counterfactuals; "
        "overdetermined: segments 1 and 3 each suffice; flags: leakage"
    )


def test_the_summary_says_both_probabilities_what_turns_and_what_is_enough() -> None:
    said = words(clear_explanation())
    assert "The model gives pneumonia 0.930, and 0.070 for the contrast picture" in said
    assert "(nearest)" in said
    assert "Replacing segments 2 and 3 by the contrast picture turns the decision" in said
    assert "0.030 on average and 0.040 at most" in said
    assert "causally overdetermined: segments 1 and 3 are each enough" in said


@pytest.mark.parametrize(
    ("causes", "said"),
    [
        ((), "Neither a segment nor a pair of segments is enough by itself for 0.99."),
        (((2,),), "Segment 2 is enough by itself"),
        (((1, 2),), "No single segment is enough, these pairs are: segments 1 and 2"),
        (((0,),), "The background is enough by itself"),
    ],
)
def test_fewer_than_two_single_causes_are_no_overdetermination(
    causes: tuple[tuple[int, ...], ...], said: str
) -> None:
    verified = tuple(SufficientCause(segments=each, p=0.99) for each in causes)
    found = words(clear_explanation(sufficient_verified=verified, overdetermined=False))
    assert said in found
    assert "not causally overdetermined" in found


def test_a_spent_budget_and_the_lack_of_a_counterfactual_are_said() -> None:
    nothing = {"counterfactuals": (), "fidelity_mean": None, "fidelity_max": None}
    said = words(clear_explanation(ending="stopped", **nothing))
    assert said.startswith("A budget was spent")
    assert "No set of up to 2 segments turns the decision" in said


def test_exact_answers_are_called_exact() -> None:
    said = words(clear_explanation(lattice=clear_lattice()))
    assert "Exact, from all 16 combinations of segments" in said
    assert "reach 0.99: segments 1 and 2; segment 3." in said


def test_parity_believes_the_regression() -> None:
    assert "sufficient: segment 1;" in headline(clear_explanation(mode="parity"))


def test_the_json_is_strict_and_has_what_http_documents() -> None:
    told = document(clear_explanation(lattice=clear_lattice()))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    body = ExplainBody(**told | {"cost": told["cost"] | {"waited_seconds": 0.0}})
    assert isinstance(body.details, ClearDetailsBody)
    assert body.model_dump()["details"] == told["details"]


def test_details_of_other_methods_stay_as_they_are() -> None:
    told = document(clear_explanation())
    given = told | {"cost": told["cost"] | {"waited_seconds": 0.0}, "details": {"margin": 1.0}}
    assert ExplainBody(**given).details == {"margin": 1.0}


def test_segments_carry_their_masks_and_no_label_map_is_told_beside_them() -> None:
    details = document(clear_explanation())["details"]
    assert "labels" not in details
    for one in details["segments"]:
        assert torch.equal(rle_to_mask(one["mask"]), label_map() == one["id"])
    assert details["segments"][1]["box"] == [8, 8, 48, 40]
    assert details["segments"][1]["area_px"] == 40 * 32


def test_segments_of_the_original_frame_have_its_pixels() -> None:
    one = document(clear_explanation(), frame_name="original")["details"]["segments"][1]
    assert one["box"] == [16, 16, 96, 80]
    assert one["area_px"] == 4 * 40 * 32


def test_pictures_in_the_json_decode_to_what_they_show() -> None:
    details = document(clear_explanation())["details"]
    for name, shown in (("contrast", CONTRAST[0]), ("difference", clear_explanation().difference)):
        png = base64.b64decode(details[name]["picture"]["data"])
        picture = PillowImage.open(io.BytesIO(png)).convert("L")
        assert np.array_equal(np.asarray(picture), shown.numpy())


def test_long_values_come_only_on_request() -> None:
    found = clear_explanation(lattice=clear_lattice())
    short = json.dumps(document(found, whole=False)["details"])
    assert len(short) < 6000
    details = document(found)["details"]
    assert details["neighbourhood"]["values"]["shown"] == ["1111", "0000", "1011"]
    assert details["lattice"]["values"][-1] == 1.0
    assert json.dumps(without_bulk(details)) == short


def test_panels_show_image_contrast_and_difference() -> None:
    image, contrast, difference, *_ = drawn_once()
    assert (pixel(image, (0, 0)) == 64).all()
    assert (pixel(contrast, (0, 0)) == 128).all()
    assert tuple(pixel(difference, (0, 0))) == HEAT[0]
    assert tuple(pixel(difference, INSIDE[1])) == HEAT[-1]
    assert difference.scale is not None
    assert difference.scale.high == "0.50"
    assert "nearest: n<17>.png; the model gives 0.070" in contrast.caption


def test_segments_are_coloured_half_by_their_sign_and_not_at_all_without_weight() -> None:
    panel = drawn_once()[SEGMENTS_PLACE]
    bare = pixel(panel, (110, 110))
    assert tuple(pixel(panel, INSIDE[1])) == tuple((bare + FOR) // 2)
    red, _, blue = pixel(panel, INSIDE[2])
    assert blue > red
    assert tuple(pixel(panel, INSIDE[3])) == tuple(bare)


def test_signs_differ_by_more_than_colour() -> None:
    panel = drawn_once()[SEGMENTS_PLACE]
    values, scale = np.asarray(panel.picture), panel.picture.width // SIDE
    edges = {
        number: {tuple(values[row, c0 * scale]) for row in range(r0 * scale + 8, r1 * scale - 8)}
        for number, (r0, r1, c0, _) in BOXES.items()
    }
    assert edges[1] == {FOR}
    assert edges[2] == {AGAINST, (0, 0, 0)}
    assert "dashed, square number: against" in panel.caption


def test_each_counterfactual_is_shown_with_its_probability() -> None:
    first, second = drawn_once()[SEGMENTS_PLACE + 1 :]
    assert (pixel(first, INSIDE[1]) == 128).all()
    assert (pixel(first, INSIDE[2]) == 64).all()
    assert (pixel(second, INSIDE[2]) == 128).all()
    assert first.caption == "0.930 becomes 0.310; predicted 0.290, error 0.020"
    assert second.title == "2 and 3 replaced"


def test_a_hybrid_is_the_contrast_where_it_is_replaced() -> None:
    image, contrast = to_picture(IMAGE), to_picture(CONTRAST.float() / 255)
    values = np.asarray(hybrid(image, contrast, label_map() == 2))[..., 0]
    assert np.array_equal(values, np.where(label_map() == 2, 128, 64))


def test_panels_are_carried_to_the_original_pixels() -> None:
    panels = drawn(clear_explanation(), frame=TWICE)
    assert panels[0].picture.size == (448, 448)
    assert (pixel(panels[SEGMENTS_PLACE + 1], INSIDE[1]) == 128).all()


def test_the_overlay_holds_all_panels() -> None:
    case = dataclasses.replace(subject().case, image=IMAGE)
    picture = PillowImage.open(io.BytesIO(overlay_png(case, clear_explanation())))
    assert picture.width > 4 * 448
    assert picture.height > 2 * 448


def test_a_gallery_has_the_segments_beside_the_map_also_where_another_row_has_no_answer() -> None:
    case = dataclasses.replace(subject().case, image=IMAGE)
    rows = [
        Row(case=case, caption="x", answers=[answer])
        for answer in (clear_explanation(), "no segments")
    ]
    assert gallery(rows, ["clear-image"]).width == 3 * CELL_PX + 4 * GAP_PX


def test_the_page_has_the_numbers_of_the_explanation() -> None:
    text = page(clear_explanation(lattice=clear_lattice()))
    for told in (
        *("<td>2, 3</td>", ">0.400<", ">0.440<", ">0.040<", "+4.00", "-2.00", "12.5", "99.5%"),
        *("1 / (1 + exp(-(-1.2 + 4 x1 - 2 x2)))", "{1, 2}", "+0.485", "0.0625"[:5]),
        "Mind: 30% of the difference lies outside all segments.",
    ):
        assert told in text, told


@pytest.mark.parametrize(("depth", "sets"), [(1, "one segment"), (2, "up to 2 segments")])
def test_the_page_says_how_far_was_looked(depth: int, sets: str) -> None:
    found = clear_explanation(counterfactual_depth=depth)
    assert f"Sets of {sets} were tried." in page(found)
    without = dataclasses.replace(
        found, counterfactuals=(), fidelity_mean=None, fidelity_max=None, lattice=None
    )
    assert f"None among the sets of {sets}." in page(without)


def test_names_of_contrast_pictures_are_escaped() -> None:
    text = page(clear_explanation())
    assert "n<17>.png" not in text
    assert "n&lt;17&gt;.png" in text
    assert "<b>t&lt;1&gt;</b>" in text


def test_a_page_without_the_rows_has_no_scatter_plot() -> None:
    assert "Regression against model" in page(clear_explanation())
    assert "Regression against model" not in page(clear_explanation(), keep=())
