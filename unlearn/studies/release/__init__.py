"""What a release, or a generated feeder, looks like."""

from unlearn.studies.release.feeder_measure import describe_feeder
from unlearn.studies.release.feeder_verdict import summarise_feeder
from unlearn.studies.release.measure import describe_release
from unlearn.studies.release.verdict import summarise_release

__all__ = ["describe_feeder", "describe_release", "summarise_feeder", "summarise_release"]
