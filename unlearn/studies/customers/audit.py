"""Is a customer still in the model? An attack on the head's parameters, before and after forgetting, and on controls.

The attacker knows the features, the target's own readings and those of a population of others. A head is linear in the
sums of meters, so shadow models are cheap: random halves of the population at a bus, with the target in and out. The
score is the likelihood ratio of the bus's parameters under normal distributions of both, which share their covariance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import BoolArray, FloatArray, IntArray, short_repr
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster, HeadObjective, HeadStatistics
from unlearn.households.customers import CustomerLoads
from unlearn.records import RecordTable
from unlearn.studies._shared.attackers import ROUNDING, paired_auc
from unlearn.studies.customers.setting import Setting
from unlearn.unlearning import forget_customers

#: Models that are told from models that never had the customer.
FORGOTTEN, POSITIVE, NEGATIVE = "forgotten", "positive control", "negative control"
#: The forgotten model and its own counterpart, both shown: whatever forgetting leaves tells them apart.
MATCHED = "forgotten, both models shown"
COMPARED = (FORGOTTEN, MATCHED, POSITIVE, NEGATIVE)
#: Chance that all intervals of an audit hold at once.
LEVEL = 0.95


def measure_audit(setting: Setting, table: RecordTable) -> None:
    """Add how well the attack tells models of each kind from models that never had a target.

    For each pair a random half S of the customers who are no targets is drawn. One model is fitted with S and the
    targets, and forgets them; the other is fitted with S alone. The positive control is the first model before it
    forgets, the negative control one of the second kind. They are compared with models of the second kind of other
    pairs, as an attacker sees one model and does not know S; the forgotten model is compared with that of its own pair,
    too. Targets are at different buses, so that each is alone in the parameters of its bus.

    Args:
        setting: customers on a grid.
        table: gets the AUC of each target and in the mean, with intervals that hold for all of them at once, and the
            largest relative difference between the parameters of both models of a pair.
    """
    options, base = setting.options, _Base.of(setting)
    scores: dict[str, list[tuple[FloatArray, FloatArray]]] = {name: [] for name in COMPARED}
    largest = 0.0
    for group in _groups(setting.dataset, options.targets, setting.seed):
        pairs = list(_pairs(base, group, options.pairs))
        attackers = [_Attacker.of(base, target, group, options.shadows, setting.seed) for target in group.tolist()]
        with_target, forgotten, never = (np.stack([pair[k] for pair in pairs]) for k in range(3))
        gap = np.abs(forgotten - never).max(axis=(1, 2)) / np.abs(never).max(axis=(1, 2))
        largest = max(largest, float(gap.max()))
        # Both models of a pair tie where they differ by rounding alone.
        tied = np.where((gap <= ROUNDING)[:, None, None], never, forgotten)
        for attacker in attackers:
            out, left = attacker.scores(never), attacker.scores(tied)
            half = len(out) // 2
            other = out[half : 2 * half]
            scores[FORGOTTEN].append((left[:half], other))
            scores[MATCHED].append((left, out))
            scores[POSITIVE].append((attacker.scores(with_target)[:half], other))
            scores[NEGATIVE].append((out[:half], other))
    n = len(scores[FORGOTTEN])
    level = 1 - (1 - LEVEL) / (n * len(COMPARED))
    for name, found in scores.items():
        columns = {"part": "audit", "method": name, "attack": "likelihood_ratio", "pairs": options.pairs}
        estimates = [paired_auc(inside, outside, level) for inside, outside in found]
        for k, own in enumerate(estimates):
            table.add("auc", own.value, "", low=own.low, high=own.high, target=k, **columns)
        ends = np.array(estimates)
        table.add("mean_auc", ends[:, 0].mean(), "", low=ends[:, 1].mean(), high=ends[:, 2].mean(), **columns)
    table.add("largest_difference", largest, "relative", part="audit", method=FORGOTTEN, pairs=options.pairs)


@short_repr
@dataclass(frozen=True, eq=False)
class _Base:
    """What all models of an audit share: features, weights, and the head of each customer alone.

    Attributes:
        dataset: with all customers.
        model: fitted to it.
        design: rows of the head, shape (n, D).
        parts: head of each customer alone in p.u. of its bus, shape (C, D); heads of sums are sums of them.
        seed: of the draws.
    """

    dataset: CustomerLoads
    model: Forecaster
    design: Tensor
    parts: FloatArray
    seed: int

    @classmethod
    def of(cls, setting: Setting) -> _Base:
        dataset, model = setting.dataset, setting.linear
        rows = model.training_rows(dataset)
        design = model.design_of(dataset, rows)
        energy = torch.from_numpy(
            dataset.meters.series(np.arange(len(dataset.meters)))[:, dataset.n_history :][:, rows]
        )
        solved = torch.linalg.lstsq(design, energy.T, driver="gelsd").solution.T.numpy()
        return cls(dataset, model, design, solved / dataset.base_mva, setting.seed)

    def part(self, customers: IntArray, bus: int) -> FloatArray:
        """Heads that customers would add at a bus, shape (k, D)."""
        return self.parts[customers] * self.dataset.mw_per_kwh[bus]

    def theta(self, dataset: CustomerLoads) -> Tensor:
        """Parameters of the linear forecaster of a data set with the same features, from the data, shape (P,)."""
        target = torch.from_numpy(dataset.load_pu[self.model.training_rows(dataset)])
        return HeadObjective(self.design, target, self.model.card.l2, self.model.column_names()).fit()

    def fitted(self, dataset: CustomerLoads) -> Forecaster:
        """The same as a forecaster, with the sums that it forgets from."""
        target = torch.from_numpy(dataset.load_pu[self.model.training_rows(dataset)])
        weights = self.model.weights
        sums = HeadStatistics.of(self.design, target, weights)
        found = self.model.with_theta(self.theta(dataset), weights, None, sums)
        found.card = replace(found.card, fingerprint=dataset.fingerprint)
        return found


@short_repr
@dataclass(frozen=True, eq=False)
class _Attacker:
    """Tells heads with a target from others, after shadow models.

    Attributes:
        bus: of the target.
        direction: Σ⁻¹ times what the target adds, shape (D,).
    """

    bus: int
    direction: FloatArray

    @classmethod
    def of(cls, base: _Base, target: int, group: IntArray, shadows: int, seed: int) -> _Attacker:
        dataset = base.dataset
        bus = int(dataset.roster.load_of[target])
        population = np.setdiff1d(np.arange(len(dataset.meters)), group)
        size = max(1, int((dataset.roster.load_of == bus).sum()) // 2)
        random = np.random.default_rng([seed, target])
        drawn = np.stack([random.permutation(population)[:size] for _ in range(shadows)])
        heads = np.stack([base.part(own, bus).sum(axis=0) for own in drawn])
        covariance = np.cov(heads.T)
        own = base.part(np.array([target]), bus)[0]
        return cls(bus, np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ own)

    def scores(self, heads: FloatArray) -> FloatArray:
        """Log likelihood ratio up to a constant, shape (k,), of heads (k, B, D)."""
        return heads[:, self.bus] @ self.direction


def _groups(dataset: CustomerLoads, n_targets: int, seed: int) -> Iterator[IntArray]:
    """Targets in groups, none at the same bus as another of its group, shape (k,) each; half of a bus at most."""
    order = np.random.default_rng([seed, 1]).permutation(len(dataset.meters))
    load_of = dataset.roster.load_of[order]
    turn = np.zeros(len(order), dtype=np.int64)
    for b in range(dataset.n_loads):
        turn[load_of == b] = np.arange((load_of == b).sum())
    chosen = np.lexsort((np.arange(len(order)), turn))[:n_targets]
    if len(chosen) < n_targets:
        raise InputError(f"customers.targets: expected at most {len(order)}, one for each customer, got {n_targets}.")
    for k in np.unique(turn[chosen]):
        yield np.sort(order[chosen[turn[chosen] == k]])


def _pairs(base: _Base, group: IntArray, pairs: int) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Heads with the targets, after forgetting them, and without them from the start, each (B, D)."""
    dataset, names = base.dataset, np.array(base.dataset.meters.customer_ids)
    random = np.random.default_rng([base.seed, int(group[0])])
    target = np.isin(np.arange(len(names)), group)
    for _ in tqdm(range(pairs), desc="pairs of models", leave=False, delay=2):
        out = _half(dataset, target, random)
        whole = dataset.without(names[out & ~target].tolist())
        model = base.fitted(whole)
        done = forget_customers(model, whole, names[target].tolist())
        never = base.theta(dataset.without(names[out | target].tolist())).reshape(model.head.shape)
        yield model.head.numpy(), done.model.head.numpy(), never.numpy()


def _half(dataset: CustomerLoads, target: BoolArray, random: np.random.Generator) -> BoolArray:
    """Which customers are left out: a random half of those of each bus who are no targets, shape (C,)."""
    out = np.zeros(len(target), dtype=bool)
    for b in range(dataset.n_loads):
        own = random.permutation(np.flatnonzero((dataset.roster.load_of == b) & ~target))
        out[own[: len(own) // 2]] = True
    return out
