"""Rates of successful attacks with their intervals, and the risk that is a release's own: attack against control.

An attack on a release also succeeds by chance, and by what is common to everybody: whoever learns that evenings are
expensive guesses better about all households, those in the release and those outside of it. So every attack is made
three times: with the release on records that it was made from, with the release on records of others ("control"), and
without it ("baseline"). Risk is what the first has above the second, as a share of what is left to win (Giomi et al.
2023, "A unified framework for quantifying privacy risk in synthetic data", Proceedings on Privacy Enhancing
Technologies 2023(2)).

Intervals are over attacks, with the three tables as they are. Attacks of one table resemble each other, predicates that
single out most of all, so that other tables of the same people differ by more than an interval says.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from statistics import NormalDist

from unlearn.attacks.outcome import LEVEL, Estimate, clopper_pearson
from unlearn.checks import require_count, require_fraction
from unlearn.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Risk:
    """What a release adds to an attack on those whom it was made from.

    Attributes:
        name: of the attack, for records.
        n_attacks: records or predicates that were tried.
        n_control: the same on control records.
        attack: rate of success on records that the release was made from.
        baseline: rate of success without the release.
        control: rate of success on records that the release was not made from.
        risk: (attack − control) / (1 − control), within 0 and 1; NaN where nothing can be measured.
        reason: why the risk is NaN, or why the attack says little; empty where it can be used as it is.
    """

    name: str
    n_attacks: int
    n_control: int
    attack: Estimate
    baseline: Estimate
    control: Estimate
    risk: Estimate
    reason: str = ""

    def metrics(self) -> dict[str, Estimate]:
        """Every estimate by the name that records use."""
        return {name: getattr(self, name) for name in ("risk", "attack", "baseline", "control")}


#: What cannot be measured.
_NOTHING = Estimate(math.nan, math.nan, math.nan)


def measure_risk(
    name: str,
    attack: tuple[float, int],
    baseline: tuple[float, int],
    control: tuple[float, int],
) -> Risk:
    """Compare an attack with its control, each given as successes and tries.

    Rates are Wilson's, and the interval follows from both rates' own by error propagation. Where every attack on
    control records succeeds, no attack can do better and the risk is NaN, with the reason. An attack that does no
    better than its baseline is too weak to say that a release is safe: that is logged and told in `reason`.

    >>> found = measure_risk("linkability", (90, 100), (5, 100), (10, 100))
    >>> round(found.risk.value, 3), round(found.risk.low, 3), round(found.risk.high, 3)
    (0.87, 0.802, 0.938)

    Args:
        name: of the attack.
        attack: on records that the release was made from.
        baseline: on the same without the release.
        control: on records that it was not made from. Successes may be fractions, where they are expected numbers.

    Raises:
        InputError: more successes than tries, or negative ones.
    """
    tried = {"attack": attack, "baseline": baseline, "control": control}
    missing = [part for part, (_, n) in tried.items() if n == 0]
    if missing:
        reason = f"{name}: there was nothing to try for {' and '.join(missing)}, so no risk can be measured"
        logger.warning("%s", reason)
        found = {part: wilson_rate(*own) if own[1] else _NOTHING for part, own in tried.items()}
        return Risk(name, attack[1], control[1], **found, risk=_NOTHING, reason=reason)
    rate, naive, other = (wilson_rate(*own) for own in tried.values())
    reason = ""
    if control[0] >= control[1]:
        risk = _NOTHING
        reason = f"{name}: every attack on control records succeeds, so no risk of the release can be measured"
    else:
        risk = _above(rate, other)
        if attack[0] * baseline[1] <= baseline[0] * attack[1]:
            reason = f"{name}: the attack does no better than guessing without the release; it shows no safety"
    if reason:
        logger.warning("%s", reason)
    return Risk(name, attack[1], control[1], rate, naive, other, risk, reason)


def _above(attack: Estimate, control: Estimate) -> Estimate:
    """(a − c) / (1 − c) with its interval; Wilson's centre c is below 1."""
    left = 1 - control.value
    value = (attack.value - control.value) / left
    slopes = (1 / left, (attack.value - 1) / left**2)
    half = math.hypot(*(slope * (own.high - own.low) / 2 for slope, own in zip(slopes, (attack, control), strict=True)))
    low, centre, high = (min(max(own, 0.0), 1.0) for own in (value - half, value, value + half))
    return Estimate(centre, low, high)


def wilson_rate(successes: float, n: int, level: float = LEVEL) -> Estimate:
    """Wilson's interval of a rate, and its centre, which is a little nearer to one half than the share.

    >>> [round(part, 3) for part in wilson_rate(0, 10)]
    [0.139, 0.0, 0.278]

    Raises:
        InputError: fewer tries than one, successes outside of 0 to n, a level outside of (0, 1).
    """
    z = _require_rate(successes, n, level)
    centre = (successes + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(successes * (n - successes) / n + z**2 / 4)
    return Estimate(centre, max(centre - half, 0.0), min(centre + half, 1.0))


def exact_rate(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """A share of successes with Clopper & Pearson's interval, which covers the truth at least as often as it says.

    >>> [round(part, 3) for part in exact_rate(0, 10)]
    [0.0, 0.0, 0.308]

    Raises:
        InputError: fewer tries than one, successes outside of 0 to n, a level outside of (0, 1).
    """
    _require_rate(successes, n, level)
    low, high = clopper_pearson(successes, n, (1 - level) / 2)
    return Estimate(successes / n, float(low), float(high))


def _require_rate(successes: float, n: int, level: float) -> float:
    """Refuse what is no rate; returns the quantile of the level."""
    require_count("tries", n)
    require_fraction("level", level)
    if not 0 <= successes <= n:
        raise InputError(f"successes: expected a number from 0 to the {n} tries, got {successes!r}.")
    return NormalDist().inv_cdf((1 + level) / 2)
