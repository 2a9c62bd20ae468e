"""Differential privacy with the household as the unit: guarantees, accounting, private gradients and sums.

Gradients need opacus and accounting needs dp-accounting: `pip install "unlearn[private]"`.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.dp.accounting import (
        GaussianSteps,
        Interval,
        epsilon_by_prv,
        epsilon_by_rdp,
        epsilon_spent,
        noise_multiplier_for,
    )
    from unlearn.dp.composition import (
        Loss,
        advanced,
        basic,
        epsilon_of,
        gaussian_epsilon,
        gaussian_sigma_for,
        rho_for,
        zcdp,
    )
    from unlearn.dp.ledger import Charged, PrivacyLedger, default_delta, require_guarantee
    from unlearn.dp.noise import Noise, NoiseSource, SimulatedNoise, clipped, noise_source, private_sum
    from unlearn.dp.options import SgdOptions
    from unlearn.dp.sgd import Batch, PrivateRun, train_privately
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # what is promised
    "require_guarantee", "default_delta",
    # what was spent
    "GaussianSteps", "Interval", "epsilon_spent", "epsilon_by_rdp", "epsilon_by_prv", "noise_multiplier_for",
    "Charged", "PrivacyLedger",
    # what several answers cost together
    "Loss", "basic", "advanced", "zcdp", "epsilon_of", "rho_for", "gaussian_epsilon", "gaussian_sigma_for",
    # where noise comes from
    "Noise", "NoiseSource", "SimulatedNoise", "noise_source",
    # mechanisms
    "clipped", "private_sum",
    "Batch", "PrivateRun", "SgdOptions", "train_privately",
]  # fmt: skip
