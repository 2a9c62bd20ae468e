"""What a guarantee promises, and which promises are refused.

(ε, δ)-differential privacy of households: whatever a release makes likely, it makes at most `e^ε` times less likely
(but for a probability of δ) if one household, with all its days, had not been there, or one more had.
"""

from __future__ import annotations

from unlearn.checks import require_count, require_fraction, require_positive
from unlearn.dp.noise import NoiseSource
from unlearn.errors import InputError

#: Where the promise ends, whatever the mechanism.
NOT_TIMED = "How long a fit takes is not covered."

#: What noise on sums is, and what noise on gradients is.
EXACT = (
    "Noise on sums is drawn exactly, in whole numbers, from the operating system's generator (Canonne, Kamath and "
    "Steinke 2020), on a grid that every household is rounded to."
)
FLOATS = (
    "Gradients and their noise are floats. The noise comes from the operating system's generator, each number the sum "
    "of four (Holohan and Braghin 2021), which withstands what is known of attacks on last bits. Epsilon is proven for "
    "real numbers, not for floats."
)
SIMULATED = "The noise comes from a seed, on simulated data: this epsilon protects nobody. Never release real data so."


def noise_claims(source: NoiseSource, *mechanisms: str) -> dict[str, object]:
    """What a card says of its noise: `noise`, and `caveats`.

    Args:
        source: where it was drawn.
        *mechanisms: `EXACT`, `FLOATS` or both.
    """
    claims = [SIMULATED] if source.kind == "simulated" else list(mechanisms)
    return {"noise": source.kind, "caveats": [*claims, NOT_TIMED]}


def require_guarantee(epsilon: float, delta: float, n_units: int) -> None:
    """Refuse an (ε, δ) that is none, or that would promise nothing for so many units.

    Args:
        epsilon: ε, above 0 and finite. Training without privacy is another function, not a large ε.
        delta: δ, below 1/N: a mechanism that publishes one of N households in full, at random, has δ = 1/N.
        n_units: N, the number of households; it counts as public.

    Raises:
        InputError: any of them is out of range.
    """
    require_positive("epsilon", epsilon)
    require_fraction("delta", delta)
    require_count("number of households", n_units)
    if delta >= 1 / n_units:
        raise InputError(
            f"delta: expected less than 1/N = {1 / n_units:.3g} for {n_units} households, got {delta:g}: publishing "
            f"one household in full would pass as private. Take {default_delta(n_units):.2g} or less."
        )


def default_delta(n_units: int) -> float:
    """`1 / (10 N)`: a tenth of what would allow to publish one household in full."""
    return 1 / (10 * require_count("number of households", n_units))
