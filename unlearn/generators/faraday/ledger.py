"""What a private Faraday says of its privacy: each part, what covers it, what it spent, and what is not covered."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from unlearn.dp import GaussianSteps, NoiseSource, epsilon_by_prv, epsilon_by_rdp, epsilon_spent
from unlearn.dp.guarantee import EXACT, FLOATS, noise_claims

#: What learning from no data makes free.
_FREE = (
    ("scaler", "constants of the start"),
    ("shapes of mixture components", "those of the start"),
    ("copula of residuals", "that of the start"),
    ("months and days of the week", "the calendar between the first and the last date, which are public"),
    ("when training stops", "a number of steps that is fixed in advance; no epoch is chosen"),
)

#: Where the promise ends even if every part is covered.
_CAVEATS = (
    "The number of households, the names of segments and the first and last date count as public.",
    "Neighbours differ by one household, with all its days, more or less. Two households of one family count as two.",
    "Settings count as chosen without these households; choosing them on the result would cost more.",
)


def privacy_card(
    sgd: GaussianSteps, histogram: GaussianSteps, clip: float, delta: float, n_units: int, source: NoiseSource
) -> dict[str, Any]:
    """The section `privacy` of a card; JSON.

    Args:
        sgd: steps that trained the network.
        histogram: the sum behind the weights of components and segments.
        clip: of gradients; that of the histogram is 1.
        delta: δ of everything together.
        n_units: N.
        source: where the noise was drawn.
    """
    network = _part("network", "DP-SGD, one clipped gradient of each household in a step", sgd, clip, delta)
    weights = _part("weights of components and segments", "discrete Gaussian on a histogram", histogram, 1.0, delta)
    both = [sgd, histogram]
    private = min(part.noise_multiplier for part in both) > 0
    claims: dict[str, Any] = noise_claims(source, EXACT, FLOATS) if private else {"noise": "none", "caveats": []}
    names = [part["part"] for part in (network, weights)]
    epsilon = epsilon_spent(both, delta)
    spent = epsilon_by_prv(both, delta, max(1e-3, 1e-3 * epsilon)) if private else None
    return {
        "private": private and source.kind == "os",
        "epsilon": epsilon if private else None,
        "epsilon_prv": list(spent) if spent else None,
        "epsilon_rdp": epsilon_by_rdp(both, delta) if private else None,
        "delta": delta,
        "unit": "household",
        "n_units": n_units,
        "adjacency": "add or remove one household; Poisson sampling",
        "parts": [network, weights],
        "without_cost": [{"part": part, "mechanism": how} for part, how in _FREE],
        "not_covered": [] if private else names,
        "noise": claims["noise"],
        "caveats": [*claims["caveats"], *_CAVEATS],
    }


def _part(name: str, mechanism: str, steps: GaussianSteps, clip: float, delta: float) -> dict[str, Any]:
    alone = epsilon_spent([steps], delta)
    return {
        "part": name,
        "mechanism": mechanism if steps.noise_multiplier > 0 else "none: no noise",
        "clip": clip,
        **asdict(steps),
        "epsilon_alone": alone if math.isfinite(alone) else None,
    }
