"""What a release, or a generated feeder, looks like."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.studies.release.feeder_measure import describe_feeder
    from unlearn.studies.release.measure import describe_release
    from unlearn.studies.release.verdict import summarise
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = ["describe_feeder", "describe_release", "summarise"]
