"""What a release is good for: train on it, test on real households: `python -m experiments.utility generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.build import build_cost, build_generator, build_releases, options_of
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.together import publish
from unlearn.studies.utility.measure import study_utility
from unlearn.studies.utility.options import UtilityStudyOptions


@experiment(keeps=lambda config: config.synthesis.folder, owner_only=True)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over the seeds, and print what they say."""
    generator, more = build_generator(config), {"training": config.training, "hours": config.evaluation.hours}
    options = options_of(UtilityStudyOptions, config.utility, **more)
    cost = build_cost(config) if "load" in options.tasks else None
    records = study_utility(build_releases(config), generator, cost, options)
    page = publish(config, "utility", records, folder)
    own, name = records[records["generator"] == generator.name], generator.name
    numbers = [
        number(f"Operating cost after training on {name}", own, task="load", metric="cost"),
        number(f"Balanced accuracy of seasons after training on {name}", own, metric="balanced_accuracy"),
        number(f"RMSE of the next step after training on {name}", own, task="next_step", metric="rmse"),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
