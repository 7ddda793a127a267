import warnings
from itertools import combinations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from xaiserve.explainers.clear_image.equation import Rows, Selection, predict
from xaiserve.explainers.clear_image.fitting import (
    SEPARATED_PENALTY,
    fit_equation,
    forced_terms,
    offered_terms,
)
from xaiserve.explainers.clear_image.lattice import all_masks
from xaiserve.explainers.clear_image.logit import (
    fit_linear,
    fit_logistic,
    published_likelihood,
)
from xaiserve.explainers.clear_image.masks import random_masks
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.table import Boundary
from xaiserve.models.spec import Rule
from xaiserve.perturb.rng import Keys

HALF = Boundary("boundary", 0.5, Rule(), 1)


def rows_of(segments, seed=0, noise=0.1):
    """Draw masks, and probabilities that a noisy logistic model gives them."""
    drawn = np.random.default_rng(seed)
    sample = random_masks(1000, segments, 4, Keys.root(seed, "rows"))
    masks, counts = np.unique(sample, axis=0, return_counts=True)
    true = drawn.normal(0, 2, segments)
    z = masks @ true - true.sum() + 1.5 + drawn.normal(0, noise, len(masks))
    weights = counts.astype(float)
    return Rows(masks, expit(z), weights, weights)


def design(rows):
    return rows.columns([(segment,) for segment in range(rows.masks.shape[1])])


@pytest.mark.parametrize("segments", [4, 8, 15])
def test_coefficients_equal_statsmodels(segments):
    rows = rows_of(segments)
    x = design(rows)
    ours = fit_logistic(x, rows.p, rows.weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        family = sm.families.Binomial()
        theirs = sm.GLM(rows.p, x, family=family, freq_weights=rows.weights).fit(tol=1e-12)
    np.testing.assert_allclose(ours.coefficients, theirs.params, atol=1e-6)


@pytest.mark.parametrize("segments", [4, 8, 15])
def test_weights_equal_copies(segments):
    rows = rows_of(segments)
    x = design(rows)
    copies = np.repeat(np.arange(len(x)), rows.weights.astype(int))
    one = fit_logistic(x, rows.p, rows.weights)
    other = fit_logistic(x[copies], rows.p[copies], np.ones(len(copies)))
    np.testing.assert_allclose(one.coefficients, other.coefficients, atol=1e-9)
    np.testing.assert_allclose(one.likelihood, other.likelihood, rtol=1e-9)
    one_aic, other_aic = (
        published_likelihood(one.z, rows.p, rows.weights),
        published_likelihood(other.z, rows.p[copies], np.ones(len(copies))),
    )
    np.testing.assert_allclose(one_aic, other_aic, rtol=1e-9)


def test_the_published_likelihood_is_the_one_that_statsmodels_reports_for_shares():
    rows = rows_of(6)
    x = design(rows)
    copies = np.repeat(np.arange(len(x)), rows.weights.astype(int))
    model = sm.Logit(np.round(rows.p[copies]), x[copies])
    model.endog = rows.p[copies]
    fit = fit_logistic(x, rows.p, rows.weights)
    ours = published_likelihood(fit.z, rows.p, rows.weights)
    np.testing.assert_allclose(ours, model.loglike(fit.coefficients), rtol=1e-12)


def test_both_likelihoods_agree_for_labels_of_zero_and_one():
    rows = rows_of(5)
    labels = np.round(rows.p)
    fit = fit_logistic(design(rows), labels, rows.weights, penalty=1.0)
    ours = published_likelihood(fit.z, labels, rows.weights)
    np.testing.assert_allclose(fit.likelihood, ours, rtol=1e-12)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 30))
@settings(max_examples=25, deadline=None)
def test_a_warm_start_ends_where_a_cold_one_does(seed, scale):
    rows = rows_of(6, seed)
    x = design(rows)
    cold = fit_logistic(x, rows.p, rows.weights)
    start = np.random.default_rng(seed).normal(0, scale, x.shape[1])
    warm = fit_logistic(x, rows.p, rows.weights, start=start)
    np.testing.assert_allclose(warm.coefficients, cold.coefficients, atol=1e-6)


def test_a_segment_that_decides_alone_separates_perfectly():
    rows = rows_of(4)
    labels = rows.masks[:, 1].astype(float)
    assert fit_logistic(design(rows), labels, rows.weights) is None


def test_an_equation_that_is_exactly_right_is_no_separation():
    rows = rows_of(5, noise=0)
    fit = fit_logistic(design(rows), rows.p, rows.weights)
    np.testing.assert_allclose(expit(fit.z), rows.p, atol=1e-9)


def test_perfect_separation_is_fitted_with_a_ridge():
    rows = rows_of(4)
    rows = Rows(rows.masks, rows.masks[:, 1].astype(float), rows.weights, rows.sampled)
    fitted = fit_equation(rows, ((1,),), 1.0, HALF, ClearOptions())
    assert fitted.separated
    assert fitted.regression.ridge == SEPARATED_PENALTY
    assert fitted.regression.centering_gap <= 0.02


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("options", [{}, {"score": "pseudo-r2"}, {"penalty": 1.0}])
def test_a_model_that_always_says_just_0_or_1_is_fitted_with_a_ridge(p, options):
    rows = rows_of(4)
    rows = Rows(rows.masks, np.full(len(rows.masks), p), rows.weights, rows.sampled)
    fitted = fit_equation(rows, (), p, HALF, ClearOptions(**options))
    assert fitted.separated
    assert abs(fitted.regression.p - p) < 1e-4
    assert np.isfinite([fitted.regression.score, *fitted.equation.weights.values()]).all()


def test_a_linear_fit_passes_through_the_image():
    rows = rows_of(6)
    whole = np.ones((1, 7))
    fit = fit_linear(design(rows), rows.p, rows.weights, through=0.77)
    assert abs(float((whole @ fit.coefficients)[0]) - 0.77) < 1e-12


def test_a_linear_fit_is_least_squares_under_that_constraint():
    rows = rows_of(6)
    x = design(rows)[:, 1:] - 1
    theirs = sm.WLS(rows.p - 0.77, x, weights=rows.weights).fit().params
    ours = fit_linear(design(rows), rows.p, rows.weights, through=0.77).coefficients[1:]
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


def by_hand(rows, forced, candidates, limit):
    """Select slowly and literally: statsmodels' fits, the quasi-likelihood's AIC."""

    def aic(terms):
        x = rows.columns(terms)
        family = sm.families.Binomial()
        fit = sm.GLM(rows.p, x, family=family, freq_weights=rows.weights).fit(tol=1e-12)
        z = x @ fit.params
        value = rows.weights @ (rows.p * z - np.logaddexp(0, z))
        return -2 * value + 2 * x.shape[1]

    terms, current = list(forced), aic(forced)
    while len(terms) + 1 < limit and candidates:
        best, chosen = min((aic([*terms, each]), each) for each in candidates)
        if best > current:
            break
        terms, current = [*terms, chosen], best
        candidates = [each for each in candidates if each != chosen]
    return terms


@pytest.mark.parametrize("limit", [3, 5, 9])
def test_selection_equals_one_by_hand(limit):
    rows = rows_of(7, seed=3)
    options = ClearOptions(max_predictors=limit)
    forced, candidates = [(2,)], [(each,) for each in range(7) if each != 2]
    found = Selection(rows, options, 0.8, 0.0).run(forced, candidates)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = by_hand(rows, forced, candidates, limit)
    assert list(found.terms) == expected


def test_the_limit_is_three_more_where_counterfactuals_fill_it():
    rows = rows_of(9, seed=1, noise=1.0)
    options = ClearOptions(max_predictors=3, mode="parity")
    found = Selection(rows, options, 0.8, 0.0).run([(1,), (2,)], [(k,) for k in range(3, 9)])
    assert len(found.terms) == 5


def test_of_equal_candidates_the_lower_number_is_taken():
    masks = all_masks(3)
    masks = np.concatenate([masks, masks[:, [0, 2, 1]]])
    p = expit(2.0 * masks[:, 1] + 2.0 * masks[:, 2] - 1)
    weights = np.ones(len(masks))
    rows = Rows(masks, p, weights, weights)
    found = Selection(rows, ClearOptions(max_predictors=2), 0.9, 0.0).run([], [(1,), (2,)])
    assert found.terms == ((1,),)


def test_strict_stops_where_the_score_gets_worse_and_parity_goes_on_to_the_limit():
    rows = rows_of(8, seed=5)
    p = expit(3.0 * rows.masks[:, 1] - 1 + 0.01 * np.arange(len(rows.p)) / len(rows.p))
    rows = Rows(rows.masks, p, 10 * rows.weights, rows.sampled)
    candidates = [(each,) for each in range(2, 8)]
    strict = Selection(rows, ClearOptions(), 0.8, 0.0).run([(1,)], candidates)
    parity = Selection(rows, ClearOptions(mode="parity"), 0.8, 0.0).run([(1,)], candidates)
    assert len(strict.terms) < len(parity.terms) == 7


def test_a_product_is_chosen_where_two_segments_only_work_together():
    masks = all_masks(4)
    p = np.where(masks[:, 1] & masks[:, 2], 0.9, 0.1)
    weights = np.full(len(masks), 100.0)
    rows = Rows(masks, p, weights, weights)
    options = ClearOptions(interactions=True, max_predictors=4)
    offered = offered_terms(rows, [], options)
    found = Selection(rows, options, 0.9, 0.0).run([], offered)
    assert found.terms[0] == (1, 2)


def test_counterfactual_interactions_force_the_product_of_a_pair_alone():
    counterfactuals = ((3,), (1, 2))
    plain = forced_terms(counterfactuals, 5, ClearOptions())
    joint = forced_terms(counterfactuals, 5, ClearOptions(counterfactual_interactions=True))
    assert plain == [(1,), (2,), (3,)]
    assert joint == [(3,), (1, 2)]


def test_terms_that_hardly_vary_are_not_offered():
    masks = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0]], dtype=bool)
    weights = np.array([150.0, 250.0, 100.0])
    rows = Rows(masks, np.array([0.9, 0.5, 0.1]), weights, weights)
    assert offered_terms(rows, [], ClearOptions()) == [(2,)]


@pytest.mark.parametrize(
    "options",
    [
        {"regression": "multiple"},
        {"regression": "multiple", "score": "adjusted-r2"},
        {"score": "pseudo-r2"},
        {"score": "pseudo-r2", "mode": "parity"},
        {"all_segments": True},
        {"include": (4.0,)},
        {"interactions": True},
        {"penalty": 1.0},
    ],
)
def test_every_kind_of_regression_meets_the_rows_it_was_fitted_to(options):
    rows = rows_of(6, seed=2)
    chosen = ClearOptions(**options)
    image = float(rows.p[rows.masks.all(axis=1)][0])
    fitted = fit_equation(rows, ((1,),), image, HALF, chosen)
    linear = chosen.regression == "multiple"
    said = predict(fitted.equation, rows.masks, linear=linear)
    assert np.average(np.abs(said - rows.p), weights=rows.weights) < 0.15
    assert fitted.regression.accuracy > 0.8
    if chosen.all_segments:
        assert len(fitted.regression.terms) == 6
    if chosen.include:
        assert (4,) in fitted.equation.weights


def test_centring_closes_the_gap_to_the_image():
    masks = all_masks(4)
    p = np.where(masks.sum(axis=1) >= 3, 0.7, 0.05)
    p[-1] = 0.99
    weights = np.full(len(masks), 30.0)
    rows = Rows(masks, p, weights, weights)
    loose = fit_equation(rows, (), 0.99, HALF, ClearOptions(mode="parity")).regression
    centred = fit_equation(rows, (), 0.99, HALF, ClearOptions()).regression
    assert centred.centering_gap < loose.centering_gap
    assert centred.centering_rounds > 0 == loose.centering_rounds


def test_pairs_of_all_segments_are_offered_on_request():
    rows = rows_of(4)
    options = ClearOptions(interactions=True)
    offered = offered_terms(rows, [], options)
    assert set(combinations(range(4), 2)) <= set(offered)
