"""Can an attacker who knows the removed data tell from parameters whether a model learnt from it? Before, and after.

Both shadow models of a pair learn from the same resampled rows, one with what is removed, one without. The first is
made to forget by the very steps that the model forgets by. The attacker has seen half of the pairs and projects the
parameters of the others on the direction in which the removed data moves them, as in the study of deletion.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace

import numpy as np

from unlearn.attacks import Estimate, measure_attack
from unlearn.checks import FloatArray, require_count
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.services.base import CUSTOMERS, HOURS, LOADS, Change
from unlearn.services.evidence.shadows import Removal, Shadows, remove_exactly, shadows_of
from unlearn.studies._shared.attackers import ROUNDING, Attacker, halves, paired_auc

#: Pairs of shadow models, and the fewest that an attacker can learn from half of.
PAIRS, FEWEST = 40, 8
#: Chance that an interval holds the truth.
LEVEL = 0.95
#: Part of the way from the model without the removed data to the one with it that counts as none.
NOTHING = 1e-3


@dataclass(frozen=True)
class Audit:
    """How often an attacker is right, before and after; 0.5 is guessing.

    Attributes:
        pairs: pairs of shadow models.
        before: of models with the removed data and models without it, how often the attacker takes the right one.
        after: the same of models that have forgotten it, and models that never had it.
        both_shown: the same after, by an attacker who sees both models of a pair, which differ in nothing else, and has
            seen what forgetting leaves in others: the least that is left tells them apart.
        left: where the model after forgetting stands to the attacker: at 0, as the model fitted without the removed
            data, or at 1, as the one fitted with it; None where no model was given.
        seconds: wall time.
        sentences: the same for people.
    """

    pairs: int
    before: Estimate
    after: Estimate
    both_shown: Estimate
    left: float | None
    seconds: float
    sentences: tuple[str, ...] = ()

    @property
    def told_before(self) -> bool:
        """Whether the attacker does better than guessing at models with the data: else the audit shows little."""
        return self.before.low > 0.5

    @property
    def told_after(self) -> bool:
        """Whether anything still tells models that have forgotten from models that never had the data."""
        left = self.left is not None and abs(self.left) > NOTHING
        return left or any(not one.low <= 0.5 <= one.high for one in (self.after, self.both_shown))

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON has it: estimates as [value, low, high]."""
        return {name: list(own) if isinstance(own, tuple) else own for name, own in asdict(self).items()}


def audit(
    model: Forecaster,
    change: Change,
    *,
    after: Forecaster | None = None,
    pairs: int = PAIRS,
    seed: int = 0,
    removal: Removal = remove_exactly,
) -> Audit:
    """Attack shadow models of a forecaster with the removed data, without it, and after forgetting it.

    The attacker knows the removed data, the features and the distribution of rows, and sees the least-squares head.
    What is frozen beneath it, such as an extractor, is not attacked. A year of 14 loads and 89 columns takes some two
    seconds; more where loads differ in what was forgotten of them, or where features depend on each other so nearly
    that heads are fitted by SVD.

    >>> import unlearn
    >>> from unlearn.services.base import HOURS
    >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000)
    >>> model = unlearn.fit_linear(data)
    >>> done = unlearn.forget(model, data, range(48))
    >>> found = audit(model, Change(HOURS, data, data, rows=np.arange(48)), after=done.model, pairs=10)
    >>> found.told_before, found.told_after, found.after.value
    (True, False, 0.5)

    Args:
        model: the forecaster before.
        change: what is removed.
        after: the forecaster that forgot; its features are compared in, its weights say what it is fitted on, and its
            own head is scored, too. None takes what the change says; withdrawn loads need it.
        pairs: pairs of shadow models.
        seed: of draws; no noise that protects anything.
        removal: how shadow models forget.

    Raises:
        InputError: fewer than 8 pairs, a network that was trained as a whole, other training rows before than after,
            withdrawn loads of a network or without `after`, a change that nothing of the model is fitted on, or after
            which no measurement remains.
        SingularHessianError: resampled rows do not determine the parameters.
    """
    start = time.perf_counter()
    if require_count("pairs", pairs) < FEWEST:
        raise InputError(f"pairs: expected at least {FEWEST}, for an attacker learns from half of them, got {pairs}.")
    shadows = shadows_of(model, change, after, pairs, seed)
    inside, outside = shadows.inside, shadows.outside
    attacker = _attacker(shadows)
    forgotten = _tied(removal(shadows, outside), outside, attacker.population)
    scores = {name: np.empty(pairs) for name in ("in", "out", "forgotten", "left", "never")}
    for asked in halves(pairs, seed):
        known, others = (inside[~asked], outside[~asked]), (forgotten[~asked], outside[~asked])
        for name, heads in (("in", inside), ("out", outside), ("forgotten", forgotten)):
            scores[name][asked] = attacker.by_parameters(*known, heads[asked])
        for name, heads in (("left", forgotten), ("never", outside)):
            scores[name][asked] = attacker.by_parameters(*others, heads[asked])
    before, now = (
        measure_attack(scores[name], scores["out"], unit="model", fprs=(), seed=seed).auc
        for name in ("in", "forgotten")
    )
    both = paired_auc(scores["left"], scores["never"], LEVEL)
    left = None if after is None else _left(attacker, shadows, after, inside, outside)
    found = Audit(pairs, before, now, both, left, time.perf_counter() - start)
    return replace(found, sentences=_sentences(found, change))


def _left(
    attacker: Attacker, shadows: Shadows, after: Forecaster, inside: FloatArray, outside: FloatArray
) -> float | None:
    """Where a model stands between those that are fitted to all rows as they are, with and without what is removed."""
    plain = replace(shadows, draws=np.ones((1, shadows.draws.shape[1])))
    heads = np.concatenate([plain.inside, plain.outside, after.head.numpy()[None, shadows.outputs]])
    inner, outer, own = attacker.by_parameters(inside, outside, heads)
    return float((own - outer) / (inner - outer)) if inner != outer else None


def _attacker(shadows: Shadows) -> Attacker:
    """Who knows the population of rows; `by_parameters` looks at nothing else."""
    design = shadows.design_out[shadows.weights_out.any(axis=1)]
    gram = design.T @ design / len(design)
    # Columns that these rows hardly move would leave the Cholesky factor without a root.
    gram[np.diag_indices_from(gram)] += 1e-12 * np.trace(gram) / len(gram)
    return Attacker(design[:0], shadows.target_out[:0], np.zeros(0, dtype=np.int64), gram)


def _tied(forgotten: FloatArray, outside: FloatArray, population: FloatArray) -> FloatArray:
    """Heads after forgetting; where a pair's parameters, or its forecasts, differ by rounding alone the very other."""
    same = np.zeros(len(outside), dtype=bool)
    for root in (np.eye(len(population)), np.linalg.cholesky(population)):
        apart, size = (np.linalg.norm(heads @ root, axis=(1, 2)) for heads in (forgotten - outside, outside))
        same |= apart <= ROUNDING * size
    return np.where(same[:, None, None], outside, forgotten)


#: What an attacker knows, by subject.
_KNOWN = {CUSTOMERS: "the removed readings", HOURS: "the removed hours", LOADS: "the withdrawn loads"}


def _sentences(found: Audit, change: Change) -> tuple[str, ...]:
    known = _KNOWN[change.subject]
    said = [
        f"Before, an attacker who knows {known} told models with them from models without in {_share(found.before)} of "
        f"comparisons; afterwards in {_share(found.after)}: {_judged(found.after)}.",
        f"Shown both models of a pair, which differ in nothing but {known}, the attacker was right in "
        f"{_share(found.both_shown)} afterwards: {_judged(found.both_shown)}.",
    ]
    if found.left is not None:
        said.append(
            f"On the way from the model fitted without them (0 %) to the one fitted with them (100 %) this model "
            f"itself stands at {round(100 * found.left, 1) + 0.0:.1f} %."
        )
    if not found.told_before:
        said.append(
            "The attacker could not tell before either, so this says little about the removal. The residual gradient "
            "and the distance to a refit say more."
        )
    if change.subject == LOADS:
        said.append("Attacked are the loads that remain: a model without the withdrawn ones has no parameters of them.")
    said.append(
        f"These are heads of {found.pairs} pairs of models of the same kind, fitted to resampled hours. What is frozen "
        "beneath a head was not attacked. The attacker knows all other data, too, but for which hours were drawn."
    )
    return tuple(said)


def _share(estimate: Estimate) -> str:
    value, low, high = (f"{100 * own:.0f} %" for own in estimate)
    return f"{value} [{low}, {high}]"


def _judged(estimate: Estimate) -> str:
    guessing = estimate.low <= 0.5 <= estimate.high
    return "no better than guessing" if guessing else "something of them is left"
