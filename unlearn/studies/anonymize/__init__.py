"""De-identification: which steps protect customers, and what they cost."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.anonymize.measure import study_anonymize
    from unlearn.studies.anonymize.options import AnonymizeOptions
    from unlearn.studies.anonymize.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["AnonymizeOptions", "study_anonymize", "summarise"]
