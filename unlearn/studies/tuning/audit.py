"""The audit of tunings: does a released model give away that rows were in before they were forgotten?

For each training set there are two histories, with the removed rows and without, see `audit_pairs`. Both are run
twice: once for the models that are released, once more, in another order and on grids that have priced other hours, by
the attacker who compares bits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.checks import FloatArray, short_repr
from unlearn.records import RecordTable
from unlearn.studies._shared.attackers import ATTACKS, Attacker, Pair, cross_fitted, paired_auc
from unlearn.studies._shared.study import Study
from unlearn.studies.tuning.audit_bits import Released, bits_differ, low_bit_scores, replay_scores
from unlearn.studies.tuning.audit_options import TuningAuditOptions
from unlearn.studies.tuning.audit_pairs import Release, ShadowPairs, releases_of

#: Attacks that read bits: by repeating both histories, and by learning from the lowest bits of other models.
BITS, LOW_BITS = "bits", "low_bits"

#: All attacks of an audit.
ALL_ATTACKS = (*ATTACKS, BITS, LOW_BITS)

#: Hours that the attacker's grids have priced before.
PRICED_BEFORE = 200

#: Models of each pair, IN and OUT.
_Models = list[tuple[Released, Released]]


def audit_records(
    study: Study, share: float, options: TuningAuditOptions, releases: Sequence[Release] | None = None
) -> pd.DataFrame:
    """Audit tunings, and beside them TAMU as published and complete unlearning without tuning.

    Args:
        study: forecaster, data, grid and protocol; it says which rows are removed.
        share: of the head's training rows that is removed.
        options: settings.
        releases: what is audited; None is all of `releases_of`.

    Returns:
        Tidy records, part "audit": of each release and attack `auc` with the ends of its interval in `low` and `high`,
        simultaneous at `options.level` over all releases, attacks and cells (see `paired_auc`; `auc_all` compares with
        the models of all pairs, as in the study of deletions). `distance_in_out` is the median relative distance of the
        heads of a pair, `bits_differ` the share of the stored numbers whose bits differ between both, `bits_vary`
        the same of one history that is run twice, `seconds` the mean time of one history.

    Raises:
        InputError: too few rows or pairs for what is asked.
    """
    shadows = ShadowPairs(study, share, options)
    chosen = releases_of(options, shadows.exact) if releases is None else list(releases)
    level = options.interval_level(len(chosen) * len(ALL_ATTACKS))
    attacker = Attacker.of(shadows.objective, shadows.rows, options.attacked_rows, study.seed)
    table = study.records("tuning")
    counts = {
        "unlearnt_rows": len(shadows.rows),
        "copied_rows": shadows.n_copies,
        "training_rows": shadows.subsets[0].sum(),
    }
    for metric, value in counts.items():
        table.add(metric, value, "rows")
    for release in tqdm(chosen, desc="audit", leave=False, delay=2):
        found = run_histories(shadows, release)
        _measure(table, found, attacker, options, level, study.seed, release.columns)
    price = study.cost.case
    ratio = price.shedding_cost[1] / price.storage_cost[1]
    return table.to_frame().assign(
        part="audit", proportion=len(shadows.rows) / len(study.training_rows), price_ratio=ratio
    )


@short_repr
@dataclass(frozen=True, eq=False)
class Histories:
    """What came of both histories of each pair.

    Attributes:
        released: models IN and OUT, one pair after the other.
        repeated: the same by the attacker, who has run both histories himself.
        seconds: of one history, mean.
    """

    released: _Models
    repeated: _Models
    seconds: float

    def side(self, which: int, repeated: bool = False) -> list[Released]:
        """All models IN (0) or OUT (1)."""
        return [pair[which] for pair in (self.repeated if repeated else self.released)]

    def heads(self) -> Pair:
        """Heads that forecast."""
        inside, outside = (np.stack([model.head for model in self.side(which)]) for which in (0, 1))
        return Pair(inside, outside)

    def scores(self, attack: str, attacker: Attacker, options: TuningAuditOptions, seed: int) -> tuple[FloatArray, ...]:
        """Scores of the models IN and of the models OUT, shape (k,) each."""
        if attack == BITS:
            known = self.side(0, repeated=True), self.side(1, repeated=True)
            return tuple(replay_scores(self.side(which), *known) for which in (0, 1))
        if attack == LOW_BITS:
            return low_bit_scores(self.side(0), self.side(1), options.low_bits, seed)
        heads = self.heads()
        return cross_fitted(attacker, attack, heads.inside, heads.outside, seed)


def run_histories(shadows: ShadowPairs, release: Release) -> Histories:
    """Run both histories of every pair for the released models, and once more as an attacker would."""
    pairs = range(len(shadows.subsets))
    own = [(pair, inside) for pair in pairs for inside in (True, False)]
    start = time.perf_counter()
    found = dict(_run(shadows, release, own, 0))
    seconds = (time.perf_counter() - start) / len(own)
    again = dict(_run(shadows, release, own[::-1], PRICED_BEFORE))
    released, repeated = ([(models[k, True], models[k, False]) for k in pairs] for models in (found, again))
    return Histories(released, repeated, seconds)


def _run(
    shadows: ShadowPairs, release: Release, histories: Sequence[tuple[int, bool]], priced_before: int
) -> Iterator[tuple[tuple[int, bool], Released]]:
    # Owners who had U priced it on their grid, the others never saw it there.
    costs = {inside: shadows.priced(inside, priced_before) for inside in (True, False)}
    for pair, inside in tqdm(histories, desc=str(release.columns["method"]), leave=False, delay=2):
        yield (pair, inside), Released.of(release.run(shadows, pair, inside, costs[inside]))


def _measure(
    table: RecordTable,
    found: Histories,
    attacker: Attacker,
    options: TuningAuditOptions,
    level: float,
    seed: int,
    columns: dict[str, object],
) -> None:
    """Add what attacks find in the models of one release."""
    counts = {"attacked": "pair", "n_members": len(found.released), "n_others": len(found.released)}
    for attack in ALL_ATTACKS:
        members, others = found.scores(attack, attacker, options, seed)
        auc = paired_auc(members, others, level)
        table.add("auc", auc.value, "", low=auc.low, high=auc.high, attack=attack, **counts, **columns)
        above = np.sign(members[:, None] - others)
        table.add("auc_all", 0.5 + 0.5 * float(above.mean()), "", attack=attack, **counts, **columns)
    table.add("distance_in_out", found.heads().distance, "relative", **columns)
    differ = [bits_differ(*pair) for pair in found.released]
    table.add("bits_differ", float(np.mean(differ)), "share", **columns)
    twice = [zip(found.side(which), found.side(which, repeated=True), strict=True) for which in (0, 1)]
    vary = [bits_differ(*models) for side in twice for models in side]
    table.add("bits_vary", float(np.mean(vary)), "share", **columns)
    table.add("seconds", found.seconds, "s", **columns)
