"""Which technique costs what, and what it hides: `python -m experiments.comparison`.

Interrupt it, run it again, it goes on. Noise comes from OpenDP: pip install "unlearn[release]".
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, Number
from experiments.groups import STORE, Group
from unlearn.studies.comparison.options import ComparisonOptions


@experiment(
    keeps=lambda job: job.store,
    owner_only=True,
    households=Group("households"),
    grid=Group("grid"),
    comparison=ComparisonOptions,
    store=STORE,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figure and page, and print what they say."""
    from experiments.loads import store_of
    from experiments.together import publish
    from unlearn.households.io.sources import load_households
    from unlearn.studies.comparison.measure import study_comparison
    from unlearn.studies.comparison.setting import require_noise
    from unlearn.studies.comparison.table import ComparisonTable

    require_noise(job.comparison)
    households = load_households(job.households)
    records = study_comparison(households, job.grid.build(), job.comparison, store_of(job))
    page = publish(job, "comparison", records, folder)
    table, epsilon = ComparisonTable(records), job.comparison.main_epsilon
    numbers = [
        Number("MAPE lost by an exact secure sum", table.secure_lost),
        Number(f"MAPE lost at ε = {epsilon:g} for a reading", table.noise_lost),
        Number("Share of pseudonyms that are found", table.pseudonyms_found),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
