"""From a request to forget to signed evidence: what learnt from whom, what was removed from it, and proof of both.

`create_registry` makes a registry: an encrypted folder of data sets and of the models that learnt from them. `forget`
removes what a `DeletionRequest` names from all of them at once; `certify` writes the evidence, `verify` checks it. The
command `unlearn` does the same from a terminal.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.services.base import (
        CERTIFIED,
        EMPIRICAL,
        EXACT,
        LEARNERS,
        Change,
        Constant,
        Foreseen,
        Learner,
        Measured,
        Outcome,
        Route,
    )
    from unlearn.services.certificates.certificate import Verification, verify_certificate
    from unlearn.services.certificates.certifying import certify
    from unlearn.services.certificates.verifying import verify, verify_ledger
    from unlearn.services.data import KeptData
    from unlearn.services.deletion import DeletionRequest
    from unlearn.services.keys import RegistryKey
    from unlearn.services.learners.certified import CertifiedLearner
    from unlearn.services.learners.forecasting import ForecastLearner, TuneOptions
    from unlearn.services.learners.retrained import DetectorLearner, GeneratorLearner
    from unlearn.services.registry import ModelRegistry, create_registry, open_registry
    from unlearn.services.report import overview
    from unlearn.services.requests import Applied, Plan, forget, forget_all, plan, restore
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # a registry of data and models
    "KeptData", "ModelRegistry", "RegistryKey", "create_registry", "open_registry", "overview",
    # kinds of models
    "CertifiedLearner", "DetectorLearner", "ForecastLearner", "GeneratorLearner", "TuneOptions",
    # requests
    "Applied", "DeletionRequest", "Plan", "forget", "forget_all", "plan", "restore",
    # evidence
    "Verification", "certify", "verify", "verify_certificate", "verify_ledger",
    # a kind of one's own
    "CERTIFIED", "EMPIRICAL", "EXACT", "LEARNERS", "Change", "Constant", "Foreseen", "Learner", "Measured", "Outcome",
    "Route",
]  # fmt: skip
