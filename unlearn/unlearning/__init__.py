"""Forgetting: complete, performance-aware (PAMU) and task-aware (TAMU)."""

from typing import TYPE_CHECKING

from unlearn.lazy import lazily

if TYPE_CHECKING:
    from unlearn.unlearning import select
    from unlearn.unlearning.complete import Forgotten, forget
    from unlearn.unlearning.limitations import evaluation_rows, require_base
    from unlearn.unlearning.newton import FORMS, Update, newton_update, relative_distance, remain_weights, retrain
    from unlearn.unlearning.reweight import Reweighting
    from unlearn.unlearning.rows import forget_rows
    from unlearn.unlearning.trained import ForgottenModule, TrainedModule
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # the one call, and the one that needs no other data
    "Forgotten", "forget", "forget_rows",
    # any trained module
    "ForgottenModule", "TrainedModule",
    # its parts
    "FORMS", "Reweighting", "Update", "newton_update", "retrain", "select",
    # helpers
    "evaluation_rows", "require_base", "relative_distance", "remain_weights",
]  # fmt: skip
