"""Forgetting: complete, performance-aware (PAMU) and task-aware (TAMU)."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.criteria import evaluation_rows, require_base
    from unlearn.unlearning import select
    from unlearn.unlearning.certified import CertifiedHead
    from unlearn.unlearning.certified_audit import privacy_loss
    from unlearn.unlearning.certified_budget import noise_ratio, sigma_for
    from unlearn.unlearning.certified_forecaster import (
        CertifiedForecaster,
        fit_certified,
        load_certified,
        save_certified,
    )
    from unlearn.unlearning.certified_losses import (
        CERTIFIED_LOSSES,
        CertifiedLoss,
        Logistic,
        PseudoHuber,
        SmoothPinball,
    )
    from unlearn.unlearning.complete import forget, forget_rows
    from unlearn.unlearning.customers import ForgottenCustomers, forget_customers
    from unlearn.unlearning.loads import WithdrawnLoads, withdraw_loads
    from unlearn.unlearning.result import Forgotten
    from unlearn.unlearning.reweighting import Reweighting, reweight
    from unlearn.unlearning.steps import FORMS, Update, newton_update, relative_distance, remain_weights, retrain
    from unlearn.unlearning.trained import ForgottenModule, TrainedModule
    from unlearn.unlearning.tuning import TUNINGS, Tuned, Tuning, tune
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # complete, complete without the other data, and re-weighted; all return the same
    "Forgotten", "forget", "forget_rows", "reweight",
    # customers: meters inside a load
    "ForgottenCustomers", "forget_customers",
    # loads with all that belongs to them
    "WithdrawnLoads", "withdraw_loads",
    # certified: heads of convex losses that are not quadratic
    "CERTIFIED_LOSSES", "CertifiedHead", "CertifiedLoss", "Logistic", "PseudoHuber", "SmoothPinball", "noise_ratio",
    "sigma_for", "CertifiedForecaster", "fit_certified", "load_certified", "save_certified",
    "privacy_loss",
    # useful again, from what remains alone; its methods as objects are in unlearn.unlearning.tuning
    "TUNINGS", "Tuned", "Tuning", "tune",
    # any trained module
    "ForgottenModule", "TrainedModule",
    # its parts
    "FORMS", "Reweighting", "Update", "newton_update", "retrain", "select",
    # helpers
    "evaluation_rows", "require_base", "relative_distance", "remain_weights",
]  # fmt: skip
