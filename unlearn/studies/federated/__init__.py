"""Federated learning and unlearning: what utilities gain by learning together, and whether they can leave again."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.federated.measure import study_federated
    from unlearn.studies.federated.options import FederatedOptions
    from unlearn.studies.federated.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["FederatedOptions", "study_federated", "summarise"]
