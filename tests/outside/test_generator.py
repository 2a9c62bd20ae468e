"""A generator of one's own, passed as an object: released, compared, used for forecasts and attacked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from unlearn.generators import Generator
from unlearn.grid import OperatingCost
from unlearn.households import DailyProfiles, HouseholdProfiles, simulate_households
from unlearn.records import read_json, write_card, write_parquet
from unlearn.studies._shared.attributes import COPIED, OTHERS
from unlearn.studies._shared.options import SynthesisOptions
from unlearn.studies._shared.releases import MODEL, Releases
from unlearn.studies.fidelity import FidelityStudyOptions, study_fidelity
from unlearn.studies.leakage import LeakageStudyOptions, study_leakage
from unlearn.studies.release.measure import study_release
from unlearn.studies.utility import UtilityStudyOptions, study_utility

FITS: list[str] = []


@dataclass(frozen=True)
class Blurred(Generator):
    """Training days whose energies are scaled at random."""

    name: str = field(default="blurred", compare=False)
    spread: float = 0.2

    def release(
        self,
        train: HouseholdProfiles,
        n: int,
        seed: int = 0,
        folder: Path | None = None,
        shared: Path | None = None,
    ) -> DailyProfiles:
        FITS.append(train.fingerprint)
        random = np.random.default_rng(seed)
        rows = random.integers(len(train), size=n)
        kwh = (train.kwh[rows] * random.lognormal(0.0, self.spread, (n, 1))).astype(np.float32)
        if folder is not None:
            folder.mkdir()
            write_parquet(train.households[["segment"]].head(1), folder / "model.parquet")
            write_card({"kind": "blurred", "spread": self.spread}, folder, ["model.parquet"])
        return DailyProfiles(
            "any", kwh, train.month[rows], train.day_of_week[rows], train.segment[rows], train.segments
        )


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    options = SynthesisOptions(profiles=400, seeds=(0,), folder=str(tmp_path_factory.mktemp("kept")))
    return Releases(simulate_households(24, "2013-01-01", 100, random_state=0), options)


def test_it_is_released_with_its_card_once(releases: Releases) -> None:
    FITS.clear()
    made = study_release(releases, Blurred())
    assert made.profiles.name == "blurred"
    assert made.card["spread"] == 0.2
    assert read_json(made.folder / MODEL / "card.json")["kind"] == "blurred"
    assert set(made.records["generator"]) == {"blurred"}
    assert study_release(releases, Blurred("other name")).profiles.fingerprint == made.profiles.fingerprint
    assert len(FITS) <= 1
    assert study_release(releases, Blurred(spread=0.1)).profiles.fingerprint != made.profiles.fingerprint


def test_its_fidelity_is_measured_beside_baselines(releases: Releases) -> None:
    options = FidelityStudyOptions(n_clusters=2, min_members=10, n_divisions=1, baselines=("resampled",))
    records = study_fidelity(releases, Blurred(), options)
    assert {"blurred", "resampled"} < set(records["generator"])


def test_forecasters_train_on_it(releases: Releases) -> None:
    options = UtilityStudyOptions(profiles=300, customers=5, forecasters=("linear",), hours=4, tasks=("season", "load"))
    records = study_utility(releases, Blurred(), OperatingCost("ieee9"), options)
    assert np.isfinite(records[records["generator"] == "blurred"]["value"]).all()


def test_it_is_attacked_with_attributes_and_outliers(releases: Releases) -> None:
    options = LeakageStudyOptions(
        attacks=("distance",),
        max_profiles=100,
        max_released=200,
        draws=1,
        permutations=9,
        classifiers=("nearest",),
        attributes=("segment", "ev"),
        min_households=1,
        redraws=1,
        fits=1,
        households=6,
        days=10,
    )
    records = study_leakage(releases, Blurred(), options)
    assert set(records["generator"]) == {"blurred", COPIED, OTHERS}
    assert set(records.loc[records["attribute"].notna(), "attribute"]) == {"segment", "ev"}
    assert (records["unit_attacked"] == "outlier household").any()
