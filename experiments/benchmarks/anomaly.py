"""Latent inversion: windows one at a time as published and lean, all at once, with other starts and fewer steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from tqdm import tqdm

from experiments.app import Job
from experiments.benchmarks.options import AnomalyBenchmarkOptions
from experiments.benchmarks.timing import Timing, add_timing
from unlearn.checks import FloatArray, require_choice
from unlearn.detectors.gan.inversion import FittedGan, Inversion, invert, train_encoder
from unlearn.detectors.gan.networks import TrainedGan, train_gan
from unlearn.detectors.metrics import Ranking, building_draws, interval
from unlearn.detectors.options import InversionOptions
from unlearn.detectors.storage import load_detector
from unlearn.detectors.windows import Windows, cut_windows, scale, training_time, usable_buildings
from unlearn.errors import InputError
from unlearn.households.buildings import buildings_of, split_buildings
from unlearn.households.injection import inject
from unlearn.households.io.sources import load_households
from unlearn.records import RecordTable

PUBLISHED, LEAN = "one at a time, as published", "one at a time, lean"
REFERENCE = "all at once"

Search = Callable[[TrainedGan, np.ndarray, InversionOptions, int], Inversion | FloatArray]


@dataclass(frozen=True)
class Way:
    """One way to search, and whether it is timed on all windows or on a few."""

    search: Search
    options: InversionOptions
    few: bool = False


def time_anomaly(job: Job, table: RecordTable) -> None:
    """Search for the same windows in every way, each way once in every repetition, so that noise meets all alike."""
    sizes = job.benchmark.anomaly
    train, scored = _windows(job)
    gan = _gan(job, train)
    plain = replace(job.gan.inversion, patience=None, start="random", batch_size=sizes.batch_size)
    ways = _ways(plain, sizes)
    for way in ways.values():
        way.search(gan, scored.values[:1], replace(way.options, max_iter=min(2, plain.max_iter)), job.seed)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Inversion | FloatArray] = {}
    for _ in tqdm(range(job.benchmark.repeats), desc="repetitions", leave=False):
        for name, way in tqdm(ways.items(), desc="ways", leave=False):
            values = scored.values[: sizes.singles] if way.few else scored.values
            start = time.perf_counter()
            found[name] = way.search(gan, values, way.options, job.seed)
            seconds[name].append(time.perf_counter() - start)
    threads = "1 thread" if job.threads == 1 else f"{job.threads} threads"
    what = f"{scored.length} hours, at most {plain.max_iter} steps, {threads}"
    reference = found[REFERENCE]
    assert isinstance(reference, Inversion)
    for name, result in found.items():
        columns = {"part": "anomaly", "what": what, "method": name}
        score = result.score if isinstance(result, Inversion) else result
        add_timing(table, Timing(np.array(seconds[name])), per=len(score), unit="ms/window", scale=1e3, **columns)
        steps = result.steps.mean() if isinstance(result, Inversion) else plain.max_iter
        table.add("steps", float(steps), "steps", **columns)
        table.add("windows", len(score), "windows", **columns)
        _add_agreement(table, score, reference.score[: len(score)], columns)
        if len(score) == len(scored):
            _add_quality(table, scored, score, reference.score, job, columns)
    _add_rounding(table, gan, scored.values[: sizes.checked], plain, job.seed, what)


def _ways(plain: InversionOptions, sizes: AnomalyBenchmarkOptions) -> dict[str, Way]:
    """Every way, by its name in the table."""
    ways = {
        PUBLISHED: Way(search_as_published, plain, few=True),
        LEAN: Way(search_lean, plain, few=True),
        REFERENCE: Way(invert, plain),
    }
    for start in sizes.starts:
        own = replace(plain, start=start)
        for steps in sizes.steps:
            ways[f"{start} start, {steps} step{'s' if steps > 1 else ''}"] = Way(invert, replace(own, max_iter=steps))
        for patience in sizes.patience:
            ways[f"{start} start, patience {patience}"] = Way(invert, replace(own, patience=patience))
    return ways


def _add_agreement(table: RecordTable, score: FloatArray, against: FloatArray, columns: dict[str, str]) -> None:
    change = score / against - 1
    table.add("score_change", float(change.mean()), "relative", **columns)
    table.add("score_difference", float(np.abs(change).max()), "relative", **columns)


def _add_quality(
    table: RecordTable,
    scored: Windows,
    score: FloatArray,
    against: FloatArray,
    job: Job,
    columns: dict[str, str],
) -> None:
    """Rank correlation with the reference, AUC, and how far it is from the reference's, over redrawn households."""
    table.add("spearman", float(spearmanr(score, against)[0]), "", **columns)
    own, other = Ranking(scored.label, score), Ranking(scored.label, against)
    table.add("auc", own.roc_auc(), "", **columns)
    households, place = np.unique(scored.building, return_inverse=True)
    weights = building_draws(len(households), job.benchmark.anomaly.draws, job.seed)[:, place]
    low, high = interval(np.array([own.roc_auc(weight) - other.roc_auc(weight) for weight in weights]))
    for metric, value in (("", own.roc_auc() - other.roc_auc()), ("_low", low), ("_high", high)):
        table.add(f"auc_change{metric}", value, "", **columns)


def _add_rounding(
    table: RecordTable, gan: TrainedGan, values: np.ndarray, plain: InversionOptions, seed: int, what: str
) -> None:
    """Largest relative difference of scores that are the same but for rounding.

    Hundreds of steps through recurrent networks make large differences of small ones, and the gradient of S jumps where
    a difference changes its sign: a search whose start is changed in the last digit of float64 has a score that differs
    in the sixth after 200 steps. So the same arithmetic is compared in float32, window by window beside all at once,
    and two programs of the same search in float64, after 100 steps and after all.
    """
    together = invert(gan, values, plain, seed).score
    alone = np.array([invert(gan, row[None], plain, seed).score[0] for row in values])
    double = replace(
        gan,
        generator=deepcopy(gan.generator).double(),
        discriminator=deepcopy(gan.discriminator).double(),
        encoder=None,
    )
    early = replace(plain, max_iter=min(100, plain.max_iter))
    exact = {own: invert(double, values, own, seed).score for own in (early, plain)}
    for metric, own, other in (
        ("alone_difference", alone, together),
        ("early_difference", search_lean(double, values, early, seed), exact[early]),
        ("double_difference", search_lean(double, values, plain, seed), exact[plain]),
        ("single_difference", together, exact[plain]),
    ):
        columns = {"part": "anomaly", "what": what, "method": REFERENCE}
        table.add(metric, float(np.abs(own / other - 1).max()), "relative", **columns)


def _windows(job: Job) -> tuple[Windows, Windows]:
    """Windows to train on, and windows of other households later in time, with injected anomalies."""
    sizes = job.benchmark.anomaly
    series = buildings_of(load_households(job.households))
    fitted = training_time(series)
    series = series.take(usable_buildings(series, fitted).kept)
    split = split_buildings(len(series), seed=job.seed)
    random = np.random.default_rng(job.seed)
    train = cut_windows(scale(series, fitted), stride=sizes.stride, within=fitted, buildings=split.train)
    train = train.take(np.sort(random.permutation(len(train))[: sizes.windows]))
    require_choice("benchmark.anomaly.households", sizes.households, ("validation", "test"))
    spoilt = inject(series.take(getattr(split, sizes.households)), seed=job.seed)
    scored = cut_windows(scale(spoilt, fitted), stride=sizes.stride, within=~fitted)
    halves = [random.permutation(np.flatnonzero(scored.label == which))[: sizes.scored // 2] for which in (True, False)]
    if not all(len(half) for half in halves):
        raise InputError(
            f"benchmark.anomaly.scored: expected normal and anomalous windows, got {len(halves[1])} and "
            f"{len(halves[0])}. Raise it, or take more households."
        )
    return train, scored.take(random.permutation(np.concatenate(halves)))


def _gan(job: Job, train: Windows) -> TrainedGan:
    """The saved GAN or a new one, with an encoder."""
    options = job.gan
    if job.benchmark.anomaly.model is None:
        gan = train_gan(train, options.networks, options.training, job.seed)
        return train_encoder(gan, train, options.encoder, job.seed)
    detector = load_detector(job.benchmark.anomaly.model)
    if not isinstance(detector, FittedGan):
        raise InputError(f"benchmark.anomaly.model: expected a GAN, got a detector named {detector.name!r}.")
    return detector.gan if detector.gan.encoder else train_encoder(detector.gan, train, options.encoder, job.seed)


def search_as_published(gan: TrainedGan, values: np.ndarray, options: InversionOptions, seed: int) -> np.ndarray:
    """Best score of each window, with the work of the published code (TAnoGAN: Bashar & Nayak 2020).

    In every step the window goes through the discriminator again, and autograd finds a gradient of every weight of both
    networks that nobody asks for.
    """
    networks = (gan.generator, gan.discriminator)
    for network in networks:
        network.requires_grad_(True)
    try:
        return _each(gan, values, options, seed, lean=False)
    finally:
        for network in networks:
            network.requires_grad_(False)
            network.zero_grad(set_to_none=True)


def search_lean(gan: TrainedGan, values: np.ndarray, options: InversionOptions, seed: int) -> np.ndarray:
    """Best score of each window, with frozen weights and features of the window found once."""
    return _each(gan, values, options, seed, lean=True)


def _each(gan: TrainedGan, values: np.ndarray, options: InversionOptions, seed: int, lean: bool) -> np.ndarray:
    given = torch.from_numpy(np.array(values)).to(gan.generator.output.weight.dtype)
    return np.array([_search(gan, x[None], options, seed, lean) for x in given])


def _search(gan: TrainedGan, x: Tensor, options: InversionOptions, seed: int, lean: bool) -> float:
    start = gan.latent_std * np.random.default_rng(seed).standard_normal(gan.length)
    z = torch.from_numpy(start).to(x.dtype)[None].requires_grad_()
    optimiser = torch.optim.Adam([z], options.learning_rate)
    features = gan.discriminator(x)[1] if lean else None
    best = np.inf
    for _ in range(options.max_iter):
        wanted = gan.discriminator(x)[1] if features is None else features
        made = gan.generator(z)
        distance = (wanted - gan.discriminator(made)[1]).abs().sum()
        score = (1 - options.feature_weight) * (x - made).abs().sum() + options.feature_weight * distance
        best = min(best, score.item())
        optimiser.zero_grad()
        score.backward()
        optimiser.step()
    return best
