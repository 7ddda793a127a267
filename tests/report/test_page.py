"""Pages: complete in themselves, escaped, and saying what the results say."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image as PillowImage
from typing_extensions import override

from xaiserve.metrics.summary import ScoreRow, summarise
from xaiserve.perturb.rng import Keys
from xaiserve.report.document import failure_document
from xaiserve.report.job import Distribution, Example, FailedRow, JobReport, job_page
from xaiserve.report.page import Figure, Shown, data_uri, embeddable, explain_page
from xaiserve.report.subject import Document

PICTURE = embeddable(PillowImage.new("RGB", (300, 200), (200, 30, 30)), 100)


class Page(HTMLParser):
    """The links, tags and words of a page; fails on tags that are not closed in order."""

    VOID = frozenset({"meta", "img", "line", "circle", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += " " + " ".join(data.split())


def document(**changes: Any) -> Document:
    return {
        "image_id": "ab" * 32,
        "name": "photo.jpg",
        "notes": ["the first frame is used"],
        "model": "toy",
        "model_digest": "cd" * 32,
        "method": "multirex",
        "version": 1,
        "parameters": {"chunk": 10, "layer": None},
        "seed": 5,
        "target": {"index": 1, "label": "crane"},
        "confidence": 0.75,
        "scores": [
            {"index": 1, "label": "crane", "score": 0.75},
            {"index": 0, "label": "heron", "score": 0.25},
        ],
        "frame": {"name": "model", "height": 24, "width": 24},
        "saliency": {"minimum": 0.0, "maximum": 1.0, "peak": {"row": 3, "column": 4}},
        "explanations": [explained(0.5), explained(0.125)],
        "selected": [1],
        "details": {},
        "cost": {"model_inputs": 77, "wall_seconds": 1.25},
        "complete": True,
        "stopped": None,
        **changes,
    }


def explained(area: float) -> Document:
    return {
        "kind": "spotlight",
        "area_fraction": area,
        "area_px": int(area * 576),
        "confidence": 0.9,
        "details": {"margin": 0.8},
    }


def shown(**changes: Any) -> Shown:
    return Shown(document=document(**changes), original=PICTURE, overlay=PICTURE)


def job(**changes: Any) -> JobReport:
    rows = [
        ScoreRow(image_id=image, class_name="x", method=method, metric="pointing_game", value=hit)
        for method, hit in (("occlusion", 1.0), ("chance", 0.25), ("centre", 0.0))
        for image in "abcd"
    ]
    given: dict[str, Any] = {
        "title": "Pointing game",
        "setting": (("images", "4"),),
        "summary": summarise(rows, Keys.root(0, "test")),
        "distributions": (Distribution(method="multirex", images={1: 3, 4: 1}),),
        **changes,
    }
    return JobReport(**given)


@pytest.mark.parametrize("page", [explain_page([shown()]), job_page(job())])
def test_a_page_loads_nothing_and_runs_nothing(page: str) -> None:
    found = Page(page)
    assert all(link.startswith(("data:image/", "#")) for link in found.links)
    assert not {"script", "link", "iframe"} & set(found.tags)
    assert not re.search(r"url\(|@import|https?://", page)


def test_an_explained_image_is_shown_with_its_numbers() -> None:
    words = Page(explain_page([shown()])).words
    for text in ("photo.jpg", "crane (class 1)", "0.750", "12.5%", "77", "the first frame is used"):
        assert text in words


def test_selected_sets_come_first_with_the_numbers_of_the_overlay() -> None:
    words = Page(explain_page([shown()])).words
    assert words.index("12.5%", words.index("score alone")) < words.index("not selected")


def test_a_method_without_sets_has_no_table_of_them() -> None:
    page = explain_page([shown(explanations=[], selected=[])])
    assert "score alone" not in Page(page).words


def test_a_spent_budget_is_said() -> None:
    words = Page(explain_page([shown(stopped="inputs")])).words
    assert "The budget of model inputs was spent" in words


def test_a_trivial_explanation_is_said() -> None:
    words = Page(explain_page([shown(details={"trivial": True})])).words
    assert "the model decides for the target on the bare fill" in words


def test_names_from_outside_are_escaped() -> None:
    failure = failure_document("<b>.png", ValueError("<i>"))
    page = explain_page([shown(name="<script>alert(1)</script>")], [failure])
    assert "script" not in Page(page).tags
    assert "&lt;b&gt;.png" in page


def test_a_page_without_any_explanation_lists_what_failed() -> None:
    words = Page(explain_page([], [failure_document("x.png", ValueError("damaged"))])).words
    assert "0 images explained, 1 not" in words
    assert "damaged" in words


def test_an_image_without_an_answer_is_listed_with_the_reason() -> None:
    nothing = document(outcome="none", reason="the top class is 0", saliency=None)
    words = Page(explain_page([], [nothing])).words
    assert "photo.jpg the top class is 0" in words


def test_pixels_are_said_to_be_those_of_the_frame() -> None:
    assert "the model's input, 24 x 24 px" in Page(explain_page([shown()])).words
    original = {"name": "original", "height": 480, "width": 640}
    assert "the original picture" in Page(explain_page([shown(frame=original)])).words


def test_images_left_out_are_counted() -> None:
    words = Page(explain_page([shown()], left_out=41)).words
    assert "42 images explained" in words
    assert "1 image explained" in Page(explain_page([shown()])).words
    assert "41 more" in words


def test_embedded_pictures_are_scaled_down_and_keep_their_shape() -> None:
    uri = data_uri(PICTURE)
    assert uri.startswith("data:image/jpeg;base64,")
    assert data_uri(b"\x89PNG...").startswith("data:image/png;")


def test_a_job_shows_scores_with_intervals_beside_the_blind_methods() -> None:
    words = Page(job_page(job())).words
    assert "1.000 [0.510, 1.000]" in words  # Wilson's interval for 4 of 4
    assert words.index("occlusion") < words.index("centre") < words.index("chance 4")


def test_a_job_shows_how_many_images_have_how_many_explanations() -> None:
    words = Page(job_page(job())).words
    assert "multirex: 1.8 on average over 4 images" in words
    assert "0 images with 2" in words


def test_best_and_worst_cases_have_their_pictures() -> None:
    best = Example(name="good.png", facts=(("energy", "0.9"),), picture=PICTURE)
    worst = Example(name="gone.png", facts=(("no picture", "it was moved"),), picture=None)
    page = Page(job_page(job(best=(best,), worst=(worst,))))
    assert data_uri(PICTURE) in page.links
    assert "it was moved" in page.words


def test_panels_of_a_method_have_their_words_as_text_and_room() -> None:
    figure = Figure(title="contrast picture", caption="the model gives 0.2", picture=PICTURE)
    own = Example(name="own.png", facts=(), picture=None, figures=(figure,))
    text = job_page(job(examples=(own,)))
    assert "the model gives 0.2" in Page(text).words
    assert data_uri(PICTURE) in Page(text).links
    assert '<section class="card broad">' in text
    narrow = Example(name="narrow.png", facts=(), picture=PICTURE)
    assert "card broad" not in job_page(job(examples=(narrow,)))


def test_a_job_without_ground_truth_has_no_table() -> None:
    assert "point at the object" not in Page(job_page(job(summary=None))).words


def test_failed_rows_are_listed_and_the_rest_counted() -> None:
    row = FailedRow(name="x.png", method="rise", reason="damaged")
    words = Page(job_page(job(failures=(row,), failed=9))).words
    assert "9 explanations failed; the first 1 are listed" in words
    assert "damaged" in words
