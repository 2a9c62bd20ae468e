"""Latent inversion: windows one at a time as published, all at once, with early stopping, from an encoder's start."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from experiments.anomaly_stages import detector_options
from experiments.benchmarks.timing import Timing, add_timing
from experiments.schema import Config
from unlearn.anomaly.adversarial import TrainedGan, train_gan
from unlearn.anomaly.encoder import train_encoder
from unlearn.anomaly.gan import FittedGan
from unlearn.anomaly.inversion import Inversion, InversionOptions, invert
from unlearn.anomaly.scaling import scale, training_time, usable_buildings
from unlearn.anomaly.storage import load_detector
from unlearn.anomaly.windows import Windows, cut_windows
from unlearn.data import load_households
from unlearn.data.buildings.injection import inject
from unlearn.data.buildings.series import buildings_of
from unlearn.data.buildings.splits import split_buildings
from unlearn.errors import InputError
from unlearn.records import RecordTable

PUBLISHED = "one at a time, autograd"
REFERENCE = "all at once"


def time_anomaly(config: Config, table: RecordTable) -> None:
    """Search for the same windows in every way, each way once in every repetition, so that noise meets all alike."""
    sizes, options = config.benchmark.anomaly, detector_options(config).gan
    train, scored = _windows(config)
    gan = _gan(config, train)
    plain = replace(options.inversion, patience=None, start="random")
    stopping = replace(plain, patience=sizes.patience)
    x, few = scored.values, scored.values[: sizes.singles]
    ways = {
        PUBLISHED: lambda: one_at_a_time(gan, few, plain, config.seed),
        "all at once, autograd": lambda: all_by_autograd(gan, x, plain, config.seed),
        REFERENCE: lambda: invert(gan, x, plain, config.seed),
        "+ early stopping": lambda: invert(gan, x, stopping, config.seed),
        "+ encoder's start": lambda: invert(gan, x, replace(stopping, start="encoder"), config.seed),
        "the encoder's z alone": lambda: invert(gan, x, replace(plain, steps=1, start="encoder"), config.seed),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, tuple[np.ndarray, float]] = {}
    for _ in tqdm(range(config.benchmark.repeats), desc="inversion", leave=False):
        for name, way in ways.items():
            start = time.perf_counter()
            result = way()
            seconds[name].append(time.perf_counter() - start)
            found[name] = (
                (result.score, float(result.steps.mean())) if isinstance(result, Inversion) else (result, plain.steps)
            )
    what = f"{scored.length} hours, at most {plain.steps} steps"
    for name, (score, steps) in found.items():
        columns = {"part": "anomaly", "what": what, "method": name}
        add_timing(table, Timing(np.array(seconds[name])), per=len(score), unit="ms/window", scale=1e3, **columns)
        table.add("steps", steps, "steps", **columns)
        against = found[REFERENCE][0][: len(score)]
        change = score / against - 1
        table.add("score_change", float(change.mean()), "relative", **columns)
        table.add("score_difference", float(np.abs(change).max()), "relative", **columns)
        if len(score) == len(scored):
            table.add("spearman", float(spearmanr(score, against)[0]), "", **columns)
            table.add("auc", float(roc_auc_score(scored.label, score)), "", **columns)
        table.add("windows", len(score), "windows", **columns)


def one_at_a_time(gan: TrainedGan, values: np.ndarray, options: InversionOptions, seed: int) -> np.ndarray:
    """Best score of each window, with autograd through `torch.nn.LSTM` and one run for each."""
    return np.array([all_by_autograd(gan, row[None], options, seed)[0] for row in values])


def all_by_autograd(gan: TrainedGan, values: np.ndarray, options: InversionOptions, seed: int) -> np.ndarray:
    """Best score of each window, with autograd through `torch.nn.LSTM` and PyTorch's Adam, all in one batch."""
    x = torch.from_numpy(np.array(values))
    start = gan.latent_std * np.random.default_rng(seed).standard_normal(gan.length)
    z = torch.from_numpy(start).float().expand(len(x), -1).clone().requires_grad_()
    features = gan.discriminator(x)[1]
    optimiser = torch.optim.Adam([z], options.learning_rate)
    best = torch.full((len(x),), torch.inf)
    for _ in range(options.steps):
        score = _score(gan, z, x, features, options.feature_weight)
        best = torch.minimum(best, score.detach())
        optimiser.zero_grad()
        score.sum().backward()
        optimiser.step()
    return best.double().numpy()


def _score(gan: TrainedGan, z: Tensor, x: Tensor, features: Tensor, weight: float) -> Tensor:
    made = gan.generator(z)
    distance = (features - gan.discriminator(made)[1]).abs().sum(dim=(1, 2))
    return (1 - weight) * (x - made).abs().sum(dim=1) + weight * distance


def _windows(config: Config) -> tuple[Windows, Windows]:
    """Windows to train on, and windows of other households later in time, with injected anomalies."""
    sizes = config.benchmark.anomaly
    own = {name: value for name, value in asdict(config.households).items() if value is not None}
    series = buildings_of(load_households(own.pop("source"), **own))
    fitted = training_time(series)
    series = series.take(usable_buildings(series, fitted).kept)
    split = split_buildings(len(series), seed=config.seed)
    random = np.random.default_rng(config.seed)
    train = cut_windows(scale(series, fitted), stride=sizes.stride, within=fitted, buildings=split.train)
    train = train.take(np.sort(random.permutation(len(train))[: sizes.windows]))
    spoilt = inject(series.take(split.test), seed=config.seed)
    scored = cut_windows(scale(spoilt, fitted), stride=sizes.stride, within=~fitted)
    halves = [random.permutation(np.flatnonzero(scored.label == which))[: sizes.scored // 2] for which in (True, False)]
    if not all(len(half) for half in halves):
        raise InputError(
            f"benchmark.anomaly.scored: expected normal and anomalous windows, got {len(halves[1])} and "
            f"{len(halves[0])}. Raise it, or take more households."
        )
    return train, scored.take(random.permutation(np.concatenate(halves)))


def _gan(config: Config, train: Windows) -> TrainedGan:
    """The saved GAN or a new one, with an encoder."""
    options = detector_options(config).gan
    if config.benchmark.anomaly.model is None:
        gan = train_gan(train, options.networks, options.training, config.seed)
        return train_encoder(gan, train, options.encoder, config.seed)
    detector = load_detector(config.benchmark.anomaly.model)
    if not isinstance(detector, FittedGan):
        raise InputError(f"benchmark.anomaly.model: expected a GAN, got a detector named {detector.name!r}.")
    return detector.gan if detector.gan.encoder else train_encoder(detector.gan, train, options.encoder, config.seed)
