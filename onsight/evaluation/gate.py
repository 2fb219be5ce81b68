"""The promotion gate: whether a challenger may take the champion's place, on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from onsight.config import GateConfig
from onsight.domain import GateVerdict, Interval, ScoredSplit
from onsight.errors import DatasetError
from onsight.evaluation.counting import count_columns, count_metrics
from onsight.evaluation.measure import Evaluation
from onsight.evaluation.resampling import percentile_interval, resample_weights
from onsight.evaluation.scores import FloatArray, Scores, read_scores

__all__ = ["compare"]

_TAIL = 0.025
_NEARLY = 1e-9  # differences of shares are not exact: 0.83 - 0.81 is less than 0.02
_Reason = tuple[bool, str]


@dataclass(frozen=True)
class _Comparison:
    """Challenger less champion.

    Attributes:
        lowest: The gain is at least this much, at the gate's confidence (one-sided).
    """

    champion_value: Interval
    difference: Interval
    lowest: float
    p_value: float


def compare(
    challenger: ScoredSplit,
    champion: ScoredSplit | None,
    evaluation: Evaluation,
    config: GateConfig,
    challenger_name: str,
    champion_name: str = "",
) -> GateVerdict:
    """Decide whether a challenger passes.

    It passes when every metric in ``config.minimum`` is reached, and, where there is a champion, its gain is at
    least ``config.margin`` and a loss larger than ``config.max_regression`` is ruled out at ``config.confidence``.

    Args:
        challenger: Its answers.
        champion: The champion's, for the same images in the same order; None for the first model.
        evaluation: The challenger's.
        config: The gate.
        challenger_name: As the verdict names it.
        champion_name: As the verdict names it.

    Returns:
        The verdict; each of its reasons is a sentence with the numbers.

    Raises:
        DatasetError: The two were not measured on the same images, labels and classes.
    """
    minimums = [_check_minimum(name, lowest, evaluation) for name, lowest in sorted(config.minimum.items())]
    value = evaluation.metrics[config.metric]
    alone = GateVerdict(
        passed=True, reasons=(), metric=config.metric, challenger=challenger_name, challenger_value=value
    )
    if champion is None:
        first = (True, "there is no champion to compare with: the minimum metrics alone decide")
        return _verdict([first, *minimums], alone)
    _check_same_images(challenger, champion)
    ours, theirs = read_scores(challenger), read_scores(champion)
    comparison = (_mcnemar if config.test == "mcnemar" else _paired_bootstrap)(ours, theirs, config, evaluation)
    return _verdict(
        [*minimums, *_check_gain(comparison, config, champion_name)],
        replace(
            alone,
            champion=champion_name,
            champion_value=comparison.champion_value,
            difference=comparison.difference,
            p_value=comparison.p_value,
        ),
    )


def _verdict(checks: list[_Reason], verdict: GateVerdict) -> GateVerdict:
    failed = [reason for holds, reason in checks if not holds]
    # A verdict that fails says why it fails, and nothing else.
    return replace(verdict, passed=not failed, reasons=tuple(failed or [reason for _, reason in checks]))


def _check_minimum(name: str, lowest: float, evaluation: Evaluation) -> _Reason:
    value = evaluation.metrics[name].value
    if math.isnan(value):
        return False, f"{name} cannot be computed on these images and must be at least {lowest:.4f}"
    holds = value >= lowest - _NEARLY
    return holds, f"{name} {value:.4f} {'reaches' if holds else 'is below'} the minimum of {lowest:.4f}"


def _check_gain(comparison: _Comparison, config: GateConfig, champion_name: str) -> list[_Reason]:
    gain = comparison.difference.value
    enough = gain >= config.margin - _NEARLY
    margin = (
        f"{config.metric} {'gains' if gain >= 0 else 'loses'} {abs(gain):.4f} against {champion_name}; "
        f"the gain must be at least {config.margin:.4f}"
    )
    safe = comparison.lowest >= -config.max_regression - _NEARLY
    regression = (
        f"a loss larger than {config.max_regression:.4f} is {'' if safe else 'not '}ruled out: at "
        f"{config.confidence:.0%} confidence {config.metric} "
        f"{'loses at most' if comparison.lowest < 0 else 'gains at least'} {abs(comparison.lowest):.4f}"
    )
    return [(enough, margin), (safe, regression)]


def _check_same_images(challenger: ScoredSplit, champion: ScoredSplit) -> None:
    for what, same in (
        ("classes", challenger.classes == champion.classes),
        ("images", challenger.paths == champion.paths),
        ("labels", np.array_equal(challenger.labels, champion.labels)),
        ("classifier types", challenger.classifier_type == champion.classifier_type),
    ):
        if not same:
            raise DatasetError(
                f"challenger and champion were measured on different {what}",
                hint="score both on the same split; a model with other classes needs another model.model_name",
            )


def _paired_bootstrap(ours: Scores, theirs: Scores, config: GateConfig, evaluation: Evaluation) -> _Comparison:
    """Resample the images, and with each image both answers."""
    columns = [count_columns(scores, top_k=1) for scores in (ours, theirs)]
    value, champion_value = (_metric(c.sum(axis=0, keepdims=True), ours, config)[0] for c in columns)
    resampled = [
        [_metric(weights @ c, ours, config) for c in columns]
        for weights in resample_weights(len(ours), evaluation.resamples, evaluation.seed)
    ]
    challenger, champion = (np.concatenate(part) for part in zip(*resampled, strict=True))
    differences = challenger - champion
    return _Comparison(
        champion_value=percentile_interval(float(champion_value), champion),
        difference=percentile_interval(float(value - champion_value), differences),
        lowest=float(np.quantile(differences, 1 - config.confidence)),
        p_value=float((differences < -config.max_regression - _NEARLY).mean()),
    )


def _metric(sums: FloatArray, scores: Scores, config: GateConfig) -> FloatArray:
    return count_metrics(sums, scores.labels.shape[1], is_multi_label=scores.is_multi_label)[config.metric]


def _mcnemar(ours: Scores, theirs: Scores, config: GateConfig, evaluation: Evaluation) -> _Comparison:
    """Compare on the images that exactly one of the two gets right; accuracy only.

    The p-value is McNemar's: under the null hypothesis each such image is won by either with even odds (exact
    binomial test). The bounds of the difference are those of the same test for differences other than zero.
    """
    n = len(ours)
    wins = int((ours.is_right & ~theirs.is_right).sum())
    losses = int((theirs.is_right & ~ours.is_right).sum())
    right = theirs.is_right.astype(np.float64)
    resampled = [w @ right / n for w in resample_weights(n, evaluation.resamples, evaluation.seed)]
    return _Comparison(
        champion_value=percentile_interval(float(right.mean()), np.concatenate(resampled)),
        difference=Interval(
            (wins - losses) / n, _lower_bound(wins, losses, n, _TAIL), -_lower_bound(losses, wins, n, _TAIL)
        ),
        lowest=_lower_bound(wins, losses, n, 1 - config.confidence),
        p_value=float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
    )


def _lower_bound(wins: int, losses: int, n: int, tail: float) -> float:
    """The smallest gain that the score test does not rule out (Tango, Statistics in Medicine 17, 1998).

    Unlike bounds that take the number of differing answers as given, it stays honest when one side wins none.
    """

    def excess(gain: float) -> float:
        # The share of losses that fits best to this gain, and the variance of wins - losses under it.
        b = (2 * n - wins + losses) * gain - wins - losses
        share = (math.sqrt(b * b + 8 * n * losses * gain * (1 - gain)) - b) / (4 * n)
        variance = n * (2 * share + gain * (1 - gain))
        return (wins - losses - n * gain) - threshold * math.sqrt(max(variance, 0.0))

    threshold = float(norm.isf(tail))
    # Just below the observed gain, where the variance may be 0, the excess is negative.
    return float(brentq(excess, -1.0, (wins - losses) / n - _NEARLY)) if losses < n else -1.0
