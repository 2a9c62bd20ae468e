"""From anomaly to unlearning: `python -m experiments.poisoning forecaster=linear`.

Training hours are poisoned, found without the truth, and unlearnt; what that mends is priced on the grid. Interrupt it,
run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.endings import Ending, number
from experiments.poisoning_stages import PoisoningRun
from experiments.schema import Config
from experiments.together import publish


@experiment(keeps=lambda config: config.poisoning.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over attacks, shares, seeds and detectors, and print what they say."""
    records = PoisoningRun(config).records()
    page = publish(config, "poisoning", records, folder)
    own, detector = records[records["metric"] == "cost"], config.poisoning.detectors[0]
    after = number(f"Operating cost after unlearning what {detector} flags", own, method="unlearnt", detector=detector)
    before = [number(f"Operating cost, {kind} training data", own, method=kind) for kind in ("clean", "poisoned")]
    return Ending([*before, after], page)


if __name__ == "__main__":
    main()
