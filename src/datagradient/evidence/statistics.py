"""Tests, effect sizes and intervals of arrays over seeds, (seeds,), paired by seed.

scipy computes; this module also reports the smallest p-values that so few seeds can reach.
"""

import warnings

import numpy as np
from scipy import stats

from datagradient.errors import UserError
from datagradient.seeds import generator

ROUNDING = 1e-12
CONFIDENCE = 0.95
RESAMPLES = 9999


def compare(first: np.ndarray, second: np.ndarray) -> dict:
    """Return test, interval and effect sizes of first − second, both (seeds,) and paired by seed."""
    difference = first - second
    n = len(difference)
    low, high, method = bootstrap_interval(difference)
    t_low, t_high = t_interval(difference)
    return {
        "n": n,
        "mean_first": float(first.mean()),
        "sd_first": float(first.std(ddof=1)),
        "mean_second": float(second.mean()),
        "sd_second": float(second.std(ddof=1)),
        "mean_difference": float(difference.mean()),
        "low": low,
        "high": high,
        "interval": method,
        "t_low": t_low,
        "t_high": t_high,
        "p_one_sided": wilcoxon_p(difference, "greater"),
        "p_two_sided": wilcoxon_p(difference, "two-sided"),
        "smallest_p": 0.5**n,
        "smallest_p_two_sided": min(1.0, 0.5 ** (n - 1)),
        **effect_sizes(first, second),
        **dict(zip(("d_low", "d_high"), d_interval(first, second), strict=True)),
    }


def wilcoxon_p(difference: np.ndarray, alternative: str) -> float:
    """Return the exact p-value of Wilcoxon's signed-rank test; 1 if all differences are zero.

    Zero differences are left out (Wilcoxon 1945). The distribution is that of all sign patterns, also with tied
    sizes, for which scipy's tables are not valid; differences that differ by less than rounding (1e-12) are tied.

    Args:
        difference: paired differences (n,).
        alternative: ``"greater"``, ``"less"`` or ``"two-sided"``.
    """
    difference = np.round(difference, 12)
    difference = difference[difference != 0]
    if not len(difference):
        return 1.0
    if alternative == "two-sided":
        return min(1.0, 2 * min(wilcoxon_p(difference, side) for side in ("greater", "less")))
    # Doubled ranks of tied sizes are whole numbers, so the null distribution of their sum can be counted.
    ranks = np.round(2 * stats.rankdata(np.abs(difference))).astype(int)
    counts = np.zeros(ranks.sum() + 1)
    counts[0] = 1
    for rank in ranks:
        counts[rank:] += counts[:-rank].copy()
    positive = ranks[difference > 0].sum()
    tail = counts[positive:] if alternative == "greater" else counts[: positive + 1]
    return float(tail.sum() / counts.sum())


def effect_sizes(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Return Cohen's d (pooled standard deviation), d_z (of the paired differences) and Hedges' g (d corrected).

    Hedges' factor is 1 − 3 / (4·df − 1) with df = 2n − 2. If the deviation is zero, an effect size is
    0 for no difference and infinite otherwise.
    """
    n, difference = len(first), first - second
    pooled = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    d, d_z = (_ratio(difference.mean(), spread) for spread in (pooled, difference.std(ddof=1)))
    return {"d": d, "d_z": d_z, "hedges_g": d * (1 - 3 / (4 * (2 * n - 2) - 1))}


def d_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return a 95 % percentile bootstrap interval of Cohen's d, resampling seeds (pairs).

    With five seeds it is only a rough guide: the coverage of such intervals is nearer 83 % than 95 %.
    """
    rows = generator(0, "bootstrap", "d").integers(len(first), size=(RESAMPLES, len(first)))
    first, second = first[rows], second[rows]
    pooled = np.sqrt((first.var(axis=1, ddof=1) + second.var(axis=1, ddof=1)) / 2)
    usable = pooled > 1e-12  # a resample of a single seed has no deviation
    if not usable.any():
        return float("nan"), float("nan")
    d = (first - second).mean(axis=1)[usable] / pooled[usable]
    low, high = np.quantile(d, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _ratio(mean: float, spread: float) -> float:
    if spread > ROUNDING:
        return float(mean / spread)
    return 0.0 if abs(mean) <= 1e-12 else float(np.copysign(np.inf, mean))


def bootstrap_interval(values: np.ndarray) -> tuple[float, float, str]:
    """Return a 95 % bootstrap interval of the mean and its kind: BCa, or percentile if BCa is undefined."""
    if np.ptp(values) <= 1e-12:
        return float(values.mean()), float(values.mean()), "constant"
    for kind in ("BCa", "percentile"):
        random = generator(0, "bootstrap", kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            interval = stats.bootstrap(
                (values,), np.mean, n_resamples=RESAMPLES, method=kind, confidence_level=CONFIDENCE, rng=random
            ).confidence_interval
        if np.isfinite(interval.low) and np.isfinite(interval.high):
            return float(interval.low), float(interval.high), kind
    raise UserError(f"no bootstrap interval for {values}")


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean from Student's t; with few seeds it covers better than a bootstrap."""
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def mean_and_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval from Student's t."""
    return float(values.mean()), *t_interval(values)


def jackknife_interval(estimates: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of an estimate by its values without each of k groups of samples (Shao and Wu 1989).

    The delete-a-group jackknife: such values share nearly all of their samples and differ by little, so the variance is
    (k − 1)² / k times theirs; Student's t has k − 1 degrees of freedom. Groups are of about equal size.

    Args:
        estimates: (k,) without one group each, k at least 2.
    """
    k = len(estimates)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, k - 1) * estimates.std(ddof=1) * (k - 1) / np.sqrt(k)
    return float(estimates.mean() - half), float(estimates.mean() + half)


def corrected_interval(differences: np.ndarray, held_out_share: float) -> tuple[float, float]:
    """Return the 95 % interval of a mean over the folds of a cross-validation (Nadeau and Bengio 2003).

    Training sets of different folds overlap, so the folds' differences are not independent: the variance of their mean
    is taken to be (1 / k + held out / trained on) times their variance, and Student's t has k − 1 degrees of freedom.

    Args:
        differences: (k,) of one fold each, k at least 2.
        held_out_share: share of the samples that a fold holds out.
    """
    k = len(differences)
    factor = np.sqrt(1 / k + held_out_share / (1 - held_out_share))
    half = stats.t.ppf((1 + CONFIDENCE) / 2, k - 1) * differences.std(ddof=1) * factor
    return float(differences.mean() - half), float(differences.mean() + half)
