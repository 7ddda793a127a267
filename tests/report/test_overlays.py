"""Overlays: sizes, legibility and what is drawn where."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.multirex import MultiRexExplanation, SufficientSet
from xaiserve.models.frame import Frame
from xaiserve.perturb.case import Case
from xaiserve.report.colours import HEAT, OUTLINES, SIGNED, coloured
from xaiserve.report.drawing import font, text_block, to_picture, wrapped
from xaiserve.report.overlays import over_original, overlay_png, rgb, sketch
from xaiserve.report.painting import SIDE_PX
from xaiserve.report.panels import draw, heat_panel, is_signed, sets_panel
from xaiserve.testing.toys import patch_classifier, toy_case, toy_image

PATCH = (4, 10, 6, 12)
CELL = 19  # 24 pixels are enlarged to 456


def case(image: torch.Tensor | None = None) -> Case:
    image = toy_image() if image is None else image
    return toy_case(patch_classifier(image, PATCH), image)


def explanation(saliency: torch.Tensor) -> Explanation:
    return Explanation(image_id="0" * 64, explainer="toy", target=1, saliency=saliency)


def spot(row: int = 5, column: int = 17) -> torch.Tensor:
    saliency = torch.zeros(24, 24)
    saliency[row : row + 3, column : column + 3] = 1.0
    return saliency


def with_sets(*patches: tuple[int, int, int, int], selected: tuple[int, ...]) -> Explanation:
    sets = []
    for r0, r1, c0, c1 in patches:
        mask = torch.zeros(24, 24, dtype=torch.bool)
        mask[r0:r1, c0:c1] = True
        area = int(mask.sum())
        sets.append(
            SufficientSet(
                mask=mask,
                confidence=0.9,
                margin=0.8,
                area_px=area,
                area_fraction=area / 576,
                kind="spotlight",
                components=1,
                ranked_px=area,
            )
        )
    return MultiRexExplanation(
        image_id="0" * 64,
        explainer="multirex",
        target=1,
        saliency=spot(),
        confidence=0.9,
        explanations=tuple(sets),
        selected=selected,
        exact=True,
        flat_map=False,
        trivial=False,
    )


def pixels(picture: PillowImage.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def colourfulness(values: np.ndarray) -> np.ndarray:
    return values.max(axis=2) - values.min(axis=2)


def test_an_overlay_is_a_png_with_a_panel_of_readable_size() -> None:
    picture = PillowImage.open(io.BytesIO(overlay_png(case(), explanation(spot()))))
    assert picture.format == "PNG"
    assert picture.width >= SIDE_PX


def test_equal_explanations_have_equal_overlays() -> None:
    assert overlay_png(case(), explanation(spot())) == overlay_png(case(), explanation(spot()))


def test_colour_is_where_the_map_is_high_and_nowhere_else() -> None:
    colour = colourfulness(pixels(heat_panel(sketch(case(), explanation(spot())))))
    hot = np.kron(spot().numpy() > 0, np.ones((CELL, CELL))) > 0
    assert colour[hot].min() > 40
    assert colour[~hot].max() == 0


@pytest.mark.parametrize("level", [(0.0, 0.06), (0.94, 1.0), (0.4, 0.6)])
def test_dark_and_pale_pictures_keep_their_structure(level: tuple[float, float]) -> None:
    low, high = level
    image = low + (high - low) * toy_image()
    panel = pixels(heat_panel(sketch(case(image), explanation(spot()))))
    # The picture has 15 of 255 grey levels; the panel spreads them over half the range.
    assert panel[..., 0].max() - panel[..., 0].min() > 100


def test_a_picture_of_one_colour_is_drawn_in_a_middle_grey() -> None:
    panel = pixels(heat_panel(sketch(case(torch.zeros(3, 24, 24)), explanation(spot()))))
    assert panel[-1, -1].tolist() == [130, 130, 130]


def test_a_grey_picture_of_one_channel_is_drawn() -> None:
    panel = heat_panel(sketch(case(toy_image(channels=1)), explanation(spot())))
    assert panel.mode == "RGB"


def test_a_map_that_speaks_for_and_against_is_red_and_blue() -> None:
    saliency = spot() - spot(15, 3)
    assert is_signed(saliency)
    panel = pixels(heat_panel(sketch(case(), explanation(saliency))))
    (red, _, blue), (red2, _, blue2) = panel[6 * CELL, 18 * CELL], panel[16 * CELL, 4 * CELL]
    assert red > blue + 50
    assert blue2 > red2 + 50


def test_a_constant_map_colours_nothing() -> None:
    panel = pixels(heat_panel(sketch(case(), explanation(torch.full((24, 24), 0.3)))))
    assert colourfulness(panel).max() == 0


def test_a_constant_map_has_no_scale() -> None:
    flat, spotted = (sketch(case(), explanation(each)) for each in (torch.zeros(24, 24), spot()))
    assert draw(flat).height < draw(spotted).height


def test_a_few_towering_pixels_do_not_hide_the_rest() -> None:
    saliency = torch.zeros(64, 64)
    saliency[10:30, 10:30] = 0.01
    saliency[50, 50] = 1.0
    panel = pixels(heat_panel(sketch(case(toy_image(64)), explanation(saliency))))
    scale = panel.shape[0] // 64
    assert colourfulness(panel)[20 * scale, 20 * scale] > 40


def test_selected_sets_keep_their_colours_and_the_rest_is_dimmed_grey() -> None:
    found = with_sets((2, 12, 2, 12), (14, 22, 14, 22), selected=(1,))
    panel = pixels(sets_panel(sketch(case(), found)))
    own = pixels(to_picture(toy_image()))
    row = column = 15
    inside = panel[row * CELL + CELL // 2, column * CELL + CELL // 2]
    assert inside.tolist() == own[row, column].tolist()
    assert colourfulness(panel[: 13 * CELL]).max() == 0, "the set that was not selected is outside"
    assert panel[: 13 * CELL].max() <= 110


def test_each_selected_set_has_an_outline_of_its_own_colour() -> None:
    found = with_sets((2, 8, 2, 8), (14, 22, 14, 22), selected=(0, 1))
    panel = pixels(sets_panel(sketch(case(), found)))
    assert panel[2 * CELL + 1, 5 * CELL].tolist() == list(OUTLINES[0])
    assert panel[14 * CELL + 1, 18 * CELL].tolist() == list(OUTLINES[1])


def test_no_set_at_all_is_said_in_words() -> None:
    found = sketch(case(), with_sets(selected=()))
    assert "before the search was cut short" in found.without_sets
    assert draw(found).width > 2 * SIDE_PX


def test_a_tiny_set_is_not_hidden_by_its_number() -> None:
    found = with_sets((11, 12, 11, 12), selected=(0,))
    panel = pixels(sets_panel(sketch(case(), found)))
    own = pixels(to_picture(toy_image()))
    middle = 11 * CELL + CELL // 2
    assert panel[11 * CELL + 1, middle].tolist() == list(OUTLINES[0])
    shown = panel[11 * CELL : 12 * CELL, 11 * CELL : 12 * CELL].reshape(-1, 3).tolist()
    assert shown.count(own[11, 11].tolist()) > CELL**2 / 4


def test_a_classifier_that_needs_no_pixels_is_said_in_words() -> None:
    trivial = replace(with_sets((0, 0, 0, 0), selected=(0,)), trivial=True)
    found = sketch(case(), trivial)
    assert found.sets == ()
    assert "bare fill" in found.without_sets


def test_ground_truth_is_outlined_in_white() -> None:
    truth = torch.zeros(24, 24, dtype=torch.bool)
    truth[4:10, 6:12] = True
    found = replace(sketch(case(), explanation(torch.zeros(24, 24))), truth=truth)
    panel = pixels(heat_panel(found))
    assert panel[4 * CELL + 1, 8 * CELL].tolist() == [255, 255, 255]
    assert draw(found).height > draw(replace(found, truth=None)).height


def test_over_the_original_the_explanation_lies_where_the_frame_says() -> None:
    frame = Frame(
        original_height=48,
        original_width=72,
        scaled_height=24,
        scaled_width=36,
        top=0,
        left=6,
        height=24,
        width=24,
    )
    original = PillowImage.new("RGB", (72, 48), (90, 90, 90))
    found = over_original(explanation(spot(5, 17)), frame, original)
    rows, columns = np.nonzero(found.saliency.numpy() > 0.5)
    # Twice the model's pixels, 6 of which lie left of the crop.
    assert (rows.min(), rows.max()) == (10, 15)
    assert (columns.min(), columns.max()) == (46, 51)
    assert found.picture.size == (72, 48)


def test_a_case_without_an_original_refuses_one() -> None:
    with pytest.raises(ValueError, match="without an original picture"):
        sketch(case(), explanation(spot()), original=PillowImage.new("RGB", (9, 9)))


def test_deep_grey_originals_are_drawn_in_eight_bits() -> None:
    deep = PillowImage.fromarray(np.array([[0.0, 1.0]], dtype=np.float32))
    assert pixels(rgb(deep)).tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("anchors", [HEAT, SIGNED])
def test_the_colour_maps_pass_through_their_anchors(
    anchors: tuple[tuple[int, int, int], ...],
) -> None:
    places = np.linspace(0, 1, len(anchors), dtype=np.float32)[None]
    assert coloured(places, anchors)[0].tolist() == [list(anchor) for anchor in anchors]


def test_the_heat_map_grows_lighter_from_end_to_end() -> None:
    colours = coloured(np.linspace(0, 1, 64, dtype=np.float32)[None], HEAT)[0]
    lightness = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()


def test_text_is_wrapped_to_its_width() -> None:
    lines = wrapped("a sentence that is much longer than its column", font(15), 120)
    assert len(lines) > 2
    assert all(font(15).getlength(line) <= 120 for line in lines)
    assert text_block("a sentence that is much longer than its column", 120, 15).width == 120
