"""From the settings of a program on releases to the library's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.groups import Group
from unlearn.studies._shared.options import SynthesisOptions

if TYPE_CHECKING:
    from unlearn.studies._shared.releases import Releases

#: Sections of programs that make or measure a release.
RELEASES: dict[str, Any] = {
    "households": Group("households"),
    "generator": Group("generator"),
    "synthesis": SynthesisOptions,
}


def build_releases(job: Any) -> Releases:
    """Households, and where releases of generators that learn from them are kept."""
    from unlearn.households.io.sources import load_households
    from unlearn.studies._shared.releases import Releases

    return Releases(load_households(job.households), job.synthesis)
