"""Estimate the scores that are not published from those that are, with an uncertainty.

A factor model: the log-odds of a score are a benchmark's mean plus its loadings times a few hidden abilities of the
model, plus noise. Abilities have a prior that traits shift (price, context, size, the scores of the versions before
and after it), so that a model without any published score still gets an estimate, though a vague one. Fitted by
expectation maximization over the known cells only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FACTORS = 3
ROUNDS = 60
# Pull of loadings towards "all benchmarks measure the first ability", of the noise towards a quarter of the variance,
# and of the priors' slopes towards zero; each counts as so many observations.
_LOADING_PRIOR = 2.0
_NOISE_PRIOR = 5.0
_NOISE_MEAN = 0.25
_SLOPE_PRIOR = 4.0
# Scores of 0 and 100 % have no log-odds.
_EDGE = 0.01


def log_odds(percent: Array) -> Array:
    """Log-odds of scores in percent."""
    share = np.clip(percent / 100.0, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(share / (1 - share)))


def percent(odds: Array) -> Array:
    """Scores in percent from their log-odds."""
    return np.asarray(100.0 / (1.0 + np.exp(-odds)))


@dataclass(frozen=True)
class Factors:
    """A fitted model over a fixed list of benchmarks."""

    center: Array  # one mean log-odds for each benchmark
    scale: Array  # its standard deviation over models
    loadings: Array  # benchmarks x factors
    noise: Array  # variance left, in units of scale squared

    def estimate(self, known: Array, prior: Array) -> tuple[Array, Array]:
        """Estimate every benchmark of one model.

        Args:
            known: Its scores in percent, NaN where none is published.
            prior: Its abilities as its traits predict them.

        Returns:
            Scores and their standard errors, in percent.
        """
        standardized = (log_odds(known) - self.center) / self.scale
        mean, covariance = _abilities(standardized, self.loadings, self.noise, prior)
        middle = self.center + self.scale * (self.loadings @ mean)
        spread = np.einsum("bi,ij,bj->b", self.loadings, covariance, self.loadings) + self.noise
        score = percent(middle)
        # The slope of the logistic curve turns an error in log-odds into one in percent.
        error = np.sqrt(spread) * self.scale * score * (100.0 - score) / 100.0
        return score, np.maximum(error, 0.5)


def fit(known: Array, traits: Array) -> tuple[Factors, Array]:
    """Fit to models x benchmarks in percent (NaN where unknown) and models x traits (the first column is 1).

    Returns:
        The fitted factors, and each model's abilities as its traits predict them.
    """
    odds = log_odds(known)
    count = (~np.isnan(odds)).sum(axis=0)
    center = np.nanmean(odds, axis=0)
    # A benchmark of few models borrows the spread of all.
    variance = (np.nansum((odds - center) ** 2, axis=0) + 4 * np.nanvar(odds - center)) / (count + 4)
    scale = np.sqrt(variance)
    cells = (odds - center) / scale
    models, benchmarks = cells.shape
    rng = np.random.default_rng(0)
    anchor = np.zeros(FACTORS)
    anchor[0] = 0.8
    loadings: Array = anchor + 0.1 * rng.standard_normal((benchmarks, FACTORS))
    noise = np.full(benchmarks, _NOISE_MEAN)
    slopes: Array = np.zeros((traits.shape[1], FACTORS))
    present = ~np.isnan(cells)
    offset = np.zeros(benchmarks)
    for _ in range(ROUNDS):
        means = np.empty((models, FACTORS))
        seconds = np.empty((models, FACTORS, FACTORS))
        for row in range(models):
            mean, covariance = _abilities(cells[row] - offset, loadings, noise, traits[row] @ slopes)
            means[row] = mean
            seconds[row] = covariance + np.outer(mean, mean)
        for column in range(benchmarks):
            rows = present[:, column]
            y = cells[rows, column]
            z = np.column_stack((means[rows], np.ones(rows.sum())))
            moment = np.zeros((FACTORS + 1, FACTORS + 1))
            moment[:FACTORS, :FACTORS] = seconds[rows].sum(axis=0)
            moment[:, FACTORS] = z.sum(axis=0)
            moment[FACTORS, :] = z.sum(axis=0)
            pull = np.diag([_LOADING_PRIOR] * FACTORS + [_LOADING_PRIOR / 2]) * noise[column]
            target = z.T @ y + pull @ np.append(anchor, 0.0)
            solution = np.linalg.solve(moment + pull, target)
            loadings[column], offset[column] = solution[:FACTORS], solution[FACTORS]
            left = float(y @ y - 2 * solution @ (z.T @ y) + solution @ moment @ solution)
            noise[column] = (left + _NOISE_PRIOR * _NOISE_MEAN) / (len(y) + _NOISE_PRIOR)
        slopes[:] = np.linalg.solve(
            traits.T @ traits + _SLOPE_PRIOR * np.eye(traits.shape[1]), traits.T @ means
        )
    return Factors(center + scale * offset, scale, loadings, noise), traits @ slopes


def _abilities(cells: Array, loadings: Array, noise: Array, prior: Array) -> tuple[Array, Array]:
    present = ~np.isnan(cells)
    seen, weight = loadings[present], 1.0 / noise[present]
    precision = np.eye(FACTORS) + (seen.T * weight) @ seen
    covariance: Array = np.asarray(np.linalg.inv(precision), dtype=np.float64)
    return covariance @ (prior + (seen.T * weight) @ cells[present]), covariance
