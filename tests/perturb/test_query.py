import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.perturb.compose import Composer
from xaiserve.perturb.query import (
    Blend,
    Boxes,
    Coarse,
    Joined,
    Mix,
    Pixels,
    Ranked,
    Scene,
    join,
    leaves,
    select,
)
from xaiserve.testing.toys import constant_classifier, toy_image, toy_spec

HEIGHT, WIDTH, ROWS = 7, 9, 6
IMAGE = toy_image(HEIGHT, WIDTH, seed=1)
SCENE = Scene(IMAGE, toy_image(HEIGHT, WIDTH, seed=2) - 0.5)
VARIANTS = ["mix", "boxes", "ranked", "blend", "coarse"]

seeds = st.integers(0, 10_000)
variants = st.sampled_from(VARIANTS)
laws = settings(max_examples=40, deadline=None)


def draw(variant, seed, rows=ROWS):
    """Make a random question of ``rows`` rows."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    if variant == "mix":
        labels = torch.from_numpy(generator.integers(0, 5, (HEIGHT, WIDTH)))
        return Mix(SCENE, labels, torch.from_numpy(generator.random((rows, 5)) < 0.5))
    if variant == "boxes":
        return draw_boxes(generator, rows)
    if variant == "ranked":
        rank = torch.from_numpy(generator.permutation(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH))
        start, stop = torch.from_numpy(generator.integers(0, HEIGHT * WIDTH + 1, (2, rows)))
        return Ranked(SCENE, rank, start, stop)
    if variant == "coarse":
        return Coarse(SCENE, torch.from_numpy(generator.random((rows, 3, 4)).astype(np.float32)))
    weights = generator.random((rows, HEIGHT, WIDTH)).astype(np.float32)
    return Blend(SCENE, torch.from_numpy(weights))


def draw_boxes(generator, rows):
    """Make 0 to 3 disjoint boxes per row: slabs cut at random columns, of random rows."""
    boxes, row = [], []
    for index in range(rows):
        cuts = np.sort(generator.choice(WIDTH + 1, size=4, replace=False))
        for c0, c1 in itertools.pairwise(cuts):
            if generator.random() < 0.6:
                r0, r1 = np.sort(generator.choice(HEIGHT + 1, size=2, replace=False))
                boxes.append([r0, r1, c0, c1])
                row.append(index)
    table = torch.tensor(np.array(boxes, dtype=np.int64).reshape(-1, 4))
    return Boxes(SCENE, table, torch.tensor(row, dtype=torch.int64), rows)


def weigh(query):
    """Let ``query`` write over a buffer that holds rubbish."""
    out = torch.full((len(query), HEIGHT, WIDTH), 7.0)
    query.weigh(out)
    return out


def slow_weight(query, row, r, c):
    """The image's share of one pixel of one row, from the variant's own words."""
    match query:
        case Mix():
            return float(query.keep[row, query.labels[r, c]])
        case Boxes():
            mine = [
                b for b, owner in zip(query.boxes.tolist(), query.row, strict=True) if owner == row
            ]
            return float(any(r0 <= r < r1 and c0 <= c < c1 for r0, r1, c0, c1 in mine))
        case Ranked():
            return float(query.start[row] <= query.rank[r, c] < query.stop[row])
        case Blend():
            return float(query.weights[row, r, c])
        case Coarse():
            return slow_enlarged(query.grids[row].tolist(), r, c)


def slow_enlarged(grid, r, c):
    """Each cell's value times how near its centre is, along both sides, in cells."""
    tall, wide = r * (len(grid) - 1) / (HEIGHT - 1), c * (len(grid[0]) - 1) / (WIDTH - 1)
    return sum(
        value * max(0, 1 - abs(tall - i)) * max(0, 1 - abs(wide - j))
        for i, line in enumerate(grid)
        for j, value in enumerate(line)
    )


@laws
@given(seed=seeds)
def test_boxes_are_the_same_written_one_by_one_and_multiplied(seed):
    query = draw("boxes", seed)
    written, multiplied = torch.full((2, len(query), HEIGHT, WIDTH), 7.0)
    query.write(written)
    query.multiply(multiplied)
    assert torch.equal(written, multiplied)


@laws
@given(variant=variants, seed=seeds)
def test_weights_equal_a_loop_over_pixels(variant, seed):
    query = draw(variant, seed)
    expected = [
        [[slow_weight(query, n, r, c) for c in range(WIDTH)] for r in range(HEIGHT)]
        for n in range(ROWS)
    ]
    # Only enlarging rounds; all others choose or copy.
    atol = 1e-6 if variant == "coarse" else 0
    torch.testing.assert_close(weigh(query), torch.tensor(expected), rtol=0, atol=atol)


@laws
@given(variant=variants, seed=seeds, start=st.integers(0, ROWS), stop=st.integers(0, ROWS))
def test_a_slice_weighs_what_the_whole_weighs_there(variant, seed, start, stop):
    query = draw(variant, seed)
    assert torch.equal(weigh(query[start:stop]), weigh(query)[start:stop])


@laws
@given(variant=variants, seed=seeds, a=st.integers(0, ROWS), b=st.integers(0, ROWS))
def test_a_slice_of_a_slice_is_the_slice_of_both(variant, seed, a, b):
    query = draw(variant, seed)
    assert torch.equal(weigh(query[a:][:b]), weigh(query)[a:][:b])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_slice_is_as_alone_as_the_whole(variant):
    (row,) = leaves(select(draw(variant, 0), [2], alone=True))
    assert row.alone
    assert row[0:1].alone


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_empty_slice_has_no_rows(variant):
    query = draw(variant, 3)
    for nothing in (query[4:2], query[6:6], query[0:0]):
        assert len(nothing) == 0
        assert weigh(nothing).shape == (0, HEIGHT, WIDTH)


def test_a_row_without_boxes_shows_the_fill_alone():
    box = torch.tensor([[1, 3, 2, 5]])
    query = Boxes(SCENE, box, torch.tensor([1]), 3)
    assert weigh(query).sum(dim=(1, 2)).tolist() == [0, 6, 0]
    assert weigh(query[2:3]).sum() == 0


def test_prefixes_show_the_first_pixels_of_the_order():
    rank = torch.arange(HEIGHT * WIDTH).view(HEIGHT, WIDTH)
    query = Ranked.prefixes(SCENE, rank, [0, 4, HEIGHT * WIDTH], alone=True)
    assert query.alone
    assert weigh(query).sum(dim=(1, 2)).tolist() == [0, 4, HEIGHT * WIDTH]
    assert weigh(query)[1].flatten()[:4].tolist() == [1, 1, 1, 1]


@laws
@given(names=st.lists(variants, min_size=1, max_size=5), seed=seeds, rows=st.integers(0, 4))
def test_joined_questions_come_apart_again(names, seed, rows):
    queries = [draw(name, seed + i, rows + i) for i, name in enumerate(names)]
    joined = join([join(queries[:2]), *queries[2:]])
    assert len(joined) == sum(len(query) for query in queries)
    parts = leaves(joined)
    assert len(parts) == len(queries)
    assert all(part is query for part, query in zip(parts, queries, strict=True))


def test_one_question_joined_is_itself():
    query = draw("mix", 0)
    assert join([query]) is query
    assert len(join([])) == 0


@laws
@given(variant=variants, seed=seeds, rows=st.lists(st.integers(0, ROWS - 1), max_size=5))
def test_selected_rows_are_those_rows_alone(variant, seed, rows):
    query = draw(variant, seed)
    chosen = leaves(select(query, rows, alone=True))
    assert all(part.alone and len(part) == 1 for part in chosen)
    found = torch.cat([weigh(part) for part in chosen]) if chosen else weigh(query)[:0]
    assert torch.equal(found, weigh(query)[rows])


def test_pixels_slice_their_pictures():
    query = Pixels(torch.stack([IMAGE, SCENE.fill, IMAGE]))
    assert len(query) == 3
    assert torch.equal(query[1:2].images[0], SCENE.fill)


def test_joined_counts_the_rows_of_its_parts():
    assert len(Joined()) == 0
    assert len(Joined((draw("mix", 0), draw("boxes", 1, 4)))) == ROWS + 4


def composer(mean=0.0, std=1.0, rows=32):
    classifier = constant_classifier(IMAGE, spec=toy_spec(IMAGE, mean=mean, std=std))
    return Composer(classifier, rows), classifier.spec


@laws
@given(variant=variants, seed=seeds)
def test_composes_what_the_weights_say(variant, seed):
    build, spec = composer(mean=0.3, std=0.2)
    query = draw(variant, seed)
    build.compose(query, 5)
    weights = weigh(query)[:, None]
    expected = spec.normalise(weights * SCENE.image + (1 - weights) * SCENE.fill)
    torch.testing.assert_close(build.inputs[5 : 5 + ROWS], expected, atol=1e-5, rtol=0)


@laws
@given(variant=st.sampled_from(["mix", "boxes", "ranked"]), seed=seeds)
def test_composes_image_and_fill_bit_for_bit(variant, seed):
    build, spec = composer(mean=0.3, std=0.2)
    query = draw(variant, seed)
    build.compose(query, 0)
    image, fill = spec.normalise(torch.stack([SCENE.image, SCENE.fill]))
    expected = torch.where(weigh(query)[:, None] == 1, image, fill)
    assert torch.equal(build.inputs[:ROWS], expected)


def test_composes_finished_pictures_normalised():
    build, spec = composer(mean=0.3, std=0.2)
    pictures = torch.stack([IMAGE, SCENE.fill])
    build.compose(Pixels(pictures), 1)
    assert torch.equal(build.inputs[1:3], spec.normalise(pictures))


@laws
@given(kinds=st.lists(variants | st.just("pixels"), max_size=6), seed=seeds)
def test_composes_several_questions_one_after_the_other(kinds, seed):
    build, _ = composer(mean=0.3, std=0.2, rows=6 * ROWS)
    pictures = torch.rand(ROWS, *IMAGE.shape, generator=torch.Generator().manual_seed(seed))
    leaves = [Pixels(pictures) if kind == "pixels" else draw(kind, seed) for kind in kinds]
    together = torch.full_like(build.inputs, 7.0)
    rows = build.compose_all(leaves, together)
    assert rows == ROWS * len(leaves)
    for number, leaf in enumerate(leaves):
        build.compose(leaf, number * ROWS)
    assert torch.equal(together[:rows], build.inputs[:rows])
