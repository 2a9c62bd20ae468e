"""Poisoned hours, looked for without the truth, and their mitigation: complete unlearning, PAMU and TAMU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, require_shape, short_repr
from unlearn.data import LoadDataset, Poisoned
from unlearn.detectors.base import Detector, FittedDetector, fit_candidates
from unlearn.detectors.windows import Windows, cut_windows, scale
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import Forecaster
from unlearn.households.buildings import BuildingSeries
from unlearn.influence import criterion_gradient, influence_scores
from unlearn.studies._shared.study import Study, measure, sample_hours
from unlearn.studies.poisoning.options import PoisoningOptions
from unlearn.unlearning import Reweighting, evaluation_rows, forget, newton_update


def by_windows(study: Study, detector: Detector, options: PoisoningOptions, seed: int) -> Detection:
    """Flag hours that a detector of anomalies scores above all but a few validation hours.

    Loads take the place of buildings. The detector is fitted on all training windows, poisoned ones among them: the
    hours that an operator trusts are a few weeks of one season, and no window of another season would look normal
    beside them. The score of an hour is the mean over loads. Scales come from training hours alone.

    Args:
        study: a forecaster that was fitted on poisoned rows.
        detector: what is fitted; of several candidates the first is taken, for no hour is labelled.
        options: windows, and false alarms on validation hours.
        seed: of fitting.

    Raises:
        InputError: no window fits into the training or the validation hours.
    """
    dataset = study.dataset
    trusted = evaluation_rows(dataset, "validation")
    scaled = scale(series_of(dataset), _hours(dataset, dataset.split.train))
    parts = [
        cut_windows(scaled, options.window_hours, options.stride_hours, _hours(dataset, rows))
        for rows in (dataset.split.train, trusted)
    ]
    fitted = fit_candidates(detector, parts[0], seed)[0]
    known, judged = (_mean_over_loads(fitted, windows) for windows in parts)
    return above(detector.name, known[study.training_rows], judged[trusted], options.false_alarms)


def series_of(dataset: LoadDataset) -> BuildingSeries:
    """The hourly energy of every load before the first test hour, shape (B, T), as of a building."""
    end = int(dataset.split.test.min())
    return BuildingSeries(
        name=dataset.name,
        buildings=dataset.load_names,
        hours=dataset.timestamps.to_numpy().astype("datetime64[h]")[:end],
        kwh=1000.0 * dataset.load_mw[:end].T,
    )


def _hours(dataset: LoadDataset, rows: IntArray) -> np.ndarray:
    """Hours of a series that are among some rows, shape (T,)."""
    return np.isin(np.arange(int(dataset.split.test.min())), rows)


def _mean_over_loads(detector: FittedDetector, windows: Windows) -> FloatArray:
    return np.asarray(detector.score(windows).by_hour(windows).mean(axis=0))


#: Of a normal distribution, a standard deviation in median absolute deviations.
_MAD = 1.4826


@short_repr
@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector says of the head's n training rows.

    Attributes:
        name: of the detector.
        score: how suspicious each row is, shape (n,).
        flagged: rows to unlearn, shape (n,).
        threshold: score above which rows are flagged; NaN where there is no score.
    """

    name: str
    score: FloatArray
    flagged: NDArray[np.bool_]
    threshold: float


def by_residual(study: Study, false_alarms: float, rounds: int = 1) -> Detection:
    """Flag hours that the forecaster misses by more than it misses all but a few validation hours.

    Residuals of each load are centred by their median on validation hours and divided by their median absolute
    deviation there. A model of poisoned hours is biased, and so are its residuals on clean ones: validation hours carry
    the same bias, so it falls out. The score of an hour is the mean absolute value over loads. Further rounds ask the
    model that has unlearnt what the round before flagged, as least trimmed squares do: poison hides in a model that was
    fitted to it.

    Args:
        study: a forecaster that was fitted on poisoned rows.
        false_alarms: share of the validation hours above the threshold.
        rounds: at least 1; the last one counts.

    Raises:
        InputError: no validation hours, or a load that is forecast without any error there.
    """
    found = _by_residual(study, study.model.theta, false_alarms)
    for _ in range(rounds - 1):
        rows = np.flatnonzero(found.flagged)
        # A threshold that most rows exceed tells of other seasons than the validation hours', not of poison.
        if not 0 < len(rows) <= len(found.flagged) // 2:
            break
        theta = newton_update(study.objective, study.model.theta, rows, options=study.ihvp).theta
        found = _by_residual(study, theta, false_alarms)
    return found


def _by_residual(study: Study, theta: Tensor, false_alarms: float) -> Detection:
    dataset = study.dataset
    trusted = evaluation_rows(dataset, "validation")
    residual = dataset.load_pu - study.model.with_theta(theta).forecast(dataset.features)
    centre = np.median(residual[trusted], axis=0)
    spread = _MAD * np.median(np.abs(residual[trusted] - centre), axis=0)
    if (spread == 0).any():
        name = dataset.load_names[int(np.argmin(spread))]
        raise InputError(f"residuals: expected errors on validation hours, got none of load {name}; it tells nothing.")
    score = np.abs((residual - centre) / spread).mean(axis=1)
    return above("residual", score[study.training_rows], score[trusted], false_alarms)


def by_influence(study: Study, criterion: str, tails: Sequence[float]) -> Detection:
    """Flag rows whose removal lowers a criterion on validation hours by far more than that of most rows does.

    Harmful rows have an influence below the median by more than k median absolute deviations. Of the candidates for
    k, the one is taken after whose unlearning validation hours score best; where none is better than doing nothing,
    nothing is flagged.

    Args:
        study: a forecaster that was fitted on poisoned rows; protocol "fair".
        criterion: "mse", "mape" or "cost".
        tails: candidates for k.
    """
    influence = study.influence(criterion)
    spread = _MAD * np.median(np.abs(influence - np.median(influence)))
    score = (np.median(influence) - influence) / (spread or 1.0)
    best, least = np.inf, _on_validation(study, np.zeros(len(score), dtype=bool), criterion)
    for tail in tails:
        # An influence that is the median's neighbour may still be a helpful one.
        flagged = (score > tail) & (influence < 0)
        if not 0 < flagged.sum() <= len(score) // 2:
            continue
        found = _on_validation(study, flagged, criterion)
        if found < least:
            best, least = tail, found
    return Detection(f"influence_{criterion}", score, (score > best) & (influence < 0), best)


def of_residual(study: Study, options: PoisoningOptions, truth: NDArray[np.bool_]) -> Detection:
    """`by_residual` as configured."""
    return by_residual(study, options.false_alarms, options.rounds)


def of_influence_mse(study: Study, options: PoisoningOptions, truth: NDArray[np.bool_]) -> Detection:
    """`by_influence` on the squared error."""
    return by_influence(study, "mse", options.tails)


def of_influence_cost(study: Study, options: PoisoningOptions, truth: NDArray[np.bool_]) -> Detection:
    """`by_influence` on the operating cost."""
    return by_influence(study, "cost", options.tails)


def of_truth(study: Study, options: PoisoningOptions, truth: NDArray[np.bool_]) -> Detection:
    """Flag exactly what was poisoned: what the best detector could do. No other sees the mask."""
    return Detection("truth", truth.astype(np.float64), truth, 0.5)


def of_nothing(study: Study, options: PoisoningOptions, truth: NDArray[np.bool_]) -> Detection:
    """Flag nothing: re-weighting alone."""
    return Detection("none", np.zeros(len(truth)), np.zeros(len(truth), dtype=bool), np.nan)


def above(name: str, score: FloatArray, trusted: FloatArray, false_alarms: float) -> Detection:
    """Flag scores above the quantile of those of trusted hours that leaves `false_alarms` of them above it."""
    threshold = float(np.quantile(trusted, 1.0 - false_alarms))
    return Detection(name, score, score > threshold, threshold)


def quality(detection: Detection, truth: NDArray[np.bool_]) -> dict[str, float]:
    """How right a detection is, hour by hour.

    Args:
        detection: of n rows.
        truth: which of them were poisoned, shape (n,), some but not all.

    Returns:
        Flagged share, precision (0 where nothing is flagged), recall, F1, false alarms among clean hours, ROC-AUC.
    """
    require_shape("truth", truth, detection.flagged.shape)
    hit = int((detection.flagged & truth).sum())
    flagged, poisoned = int(detection.flagged.sum()), int(truth.sum())
    return {
        "flagged": flagged / len(truth),
        "precision": hit / flagged if flagged else 0.0,
        "recall": hit / poisoned,
        "f1": 2 * hit / (flagged + poisoned),
        "false_alarms": (flagged - hit) / (len(truth) - poisoned),
        "roc_auc": float(roc_auc_score(truth, detection.score)),
    }


def validation_hours(study: Study) -> IntArray:
    """Trusted hours that criteria are taken on: all validation hours, or as many as the study prices."""
    return sample_hours(evaluation_rows(study.dataset, "validation"), study.hours)


def _on_validation(study: Study, flagged: NDArray[np.bool_], criterion: str) -> float:
    """A criterion on validation hours after unlearning what is flagged."""
    theta, rows = study.model.theta, np.flatnonzero(flagged)
    if len(rows):
        theta = newton_update(study.objective, theta, rows, options=study.ihvp).theta
    hours = validation_hours(study)
    return measure(
        study.model.with_theta(theta), study.dataset, hours, study.cost, study.mape, study.own_criteria
    ).means(hours)[criterion]


@short_repr
@dataclass(frozen=True, eq=False)
class Mitigation:
    """A head that could be used from now on.

    Attributes:
        columns: what names it in records: method, criterion, l1_budget.
        theta: the head, shape (P,).
        weights_differ: share of the remaining rows whose weight would be another one had the flagged rows never been
            there; 0 for complete unlearning.
    """

    columns: dict[str, object]
    theta: Tensor
    weights_differ: float = 0.0


def refitted(model: Forecaster, poisoned: Poisoned) -> Forecaster:
    """Fit a forecaster's head to the poisoned loads; what was frozen stays.

    Scalers and extractors see features and trusted core hours only, so the result is what fitting from the start gives.

    Args:
        model: fitted on the original data set.
        poisoned: the same with poison in the rows that the head is fitted on.

    Raises:
        MismatchError: the model was fitted on another data set, or rows that its extractor was trained on are
            poisoned.
    """
    model.require_match(poisoned.original)
    frozen = np.setdiff1d(np.flatnonzero(poisoned.mask), model.training_rows(poisoned.original))
    if frozen.size:
        raise MismatchError(
            f"refit: expected poison in rows of the head only, got {frozen.size} poisoned rows of the core, which the "
            "extractor was trained on. Poison rows=dataset.split.sensitive."
        )
    copied = model.with_theta(model.theta)
    copied.card = replace(model.card, fingerprint=poisoned.dataset.fingerprint)
    return copied.fitted_to(poisoned.dataset)


def mitigations(study: Study, rows: IntArray, options: PoisoningOptions) -> Iterator[Mitigation]:
    """Complete unlearning of rows, and re-weighting for every criterion and budget.

    Args:
        study: a forecaster that was fitted on poisoned rows.
        rows: positions of the flagged hours in the head's training rows; where there are none, re-weighting goes
            without forgetting and complete unlearning leaves the model as it is.
        options: criteria and budgets.
    """
    theta = study.model.theta
    unlearn = study.training_rows[rows]
    complete = forget(study.model, study.dataset, unlearn, ihvp=study.ihvp).model.theta if len(rows) else theta
    yield Mitigation({"method": "unlearnt"}, complete)
    hours, mended = validation_hours(study), study.model.with_theta(complete)
    features, loads = study.dataset.features[hours], study.dataset.load_pu[hours]
    for criterion in options.criteria:
        for budget in options.l1_budgets:
            program = Reweighting(budget, study.linf_budget)
            epsilon = _weights(study, rows, program, theta, study.gradient(criterion).gradient)
            without = criterion_gradient(mended, study.criteria[criterion], features, loads).gradient
            out = _weights(study, rows, program, complete, without)
            differ = float((np.abs(epsilon - out) > 1e-9).sum() / (len(epsilon) - len(rows)))
            # For a quadratic loss the step of re-weighting is the weighted fit.
            yield Mitigation(
                {"method": "reweighted", "criterion": criterion, "l1_budget": budget},
                study.objective.fit(torch.from_numpy(epsilon)),
                differ,
            )


def _weights(study: Study, rows: IntArray, program: Reweighting, theta: Tensor, slope: Tensor) -> FloatArray:
    """ε, shape (n,), 0 on flagged rows, with scores taken at `theta`."""
    remain = np.ones(study.objective.n_samples, dtype=bool)
    remain[rows] = False
    ones = torch.from_numpy(remain.astype(np.float64))
    influence = influence_scores(study.objective, theta, slope, ones, study.ihvp).numpy()
    epsilon = np.zeros(len(remain))
    # The influence of removing a sample is minus its score.
    epsilon[remain] = program.weights(-influence[remain])
    return epsilon
