"""What a release gives away beside itself, and what a deletion leaves behind."""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import unlearn
from experiments.loads import build_dataset
from experiments.release import COMPARISON
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_private_training import QUICK_GENERATOR
from tests.generators.builders import households
from tests.security.conftest import Attacked
from tests.snapshots.take import smaller
from unlearn.checks import FloatArray
from unlearn.households import HouseholdProfiles, load_profiles, split_households
from unlearn.records import read_json, write_parquet
from unlearn.studies._shared.bus_loads import training_days
from unlearn.studies.release.measure import describe_release

LONELY = "lonely"

#: A private release in seconds.
QUICK = [*QUICK_GENERATOR, "synthesis.profiles=600", "synthesis.folder=kept"]


def learnt_from(everybody: HouseholdProfiles) -> HouseholdProfiles:
    """What the generator of seed 0 is trained on."""
    train, _ = split_households(everybody, 0.5, 0)
    return train.take(training_days(train.date, 4))


def planted() -> HouseholdProfiles:
    """49 households, one of which is alone in its segment, trained on, and has values that no other one has."""
    people = households(49, 60)
    kwh, own = people.kwh.copy(), people.household == 0
    kwh[own] = 60 + 37 * np.random.default_rng(1).random((own.sum(), 48), dtype=np.float32)
    table = people.households.copy()
    table.loc[0, "segment"] = LONELY
    segments = (*people.segments, LONELY)
    everybody = replace(people, kwh=kwh, segment=np.where(own, 2, people.segment), segments=segments, households=table)
    assert (learnt_from(everybody).segment == 2).any()
    return everybody


@dataclass(frozen=True)
class Handed:
    """Real households, the folder of their release, and the folder of its owner."""

    real: HouseholdProfiles
    release: Path
    internal: Path
    everything: Path
    secrets: list[str]


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handed]:
    folder, everybody = tmp_path_factory.mktemp("handed"), planted()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("unlearn.households.io.sources.load_households", lambda source: everybody)
        out = Runner(folder, patch)("release", *QUICK)
        real = learnt_from(everybody)
        # What was handed over before: real households described like anybody's.
        described = describe_release(load_profiles(out / "profiles.parquet"), None, {}, real).to_frame()
        write_parquet(described, folder / "before" / "records.parquet")
        (kept,) = (folder / "kept" / "release").iterdir()
        secrets = [everybody.fingerprint, real.fingerprint, kept.name]
        yield Handed(real, out, out.with_name("release-internal"), folder / "before", secrets)


def functions(real: HouseholdProfiles) -> FloatArray:
    """Numbers of real households that a description might hold: means of groups, quantiles, extremes, deviations."""
    kwh = real.kwh.astype(np.float64)
    day = kwh.sum(axis=1)
    groups = [np.ones(len(real), bool)]
    for label in (real.segment, real.month, real.day_of_week, real.household):
        groups += [label == value for value in np.unique(label)]
    found = [np.concatenate([kwh[own].mean(axis=0), [day[own].mean()]]) for own in groups]
    found += [np.quantile(kwh, [0, 0.05, 0.5, 0.95, 1], axis=0).ravel(), np.quantile(day, np.arange(101) / 100)]
    roots = np.sqrt(kwh)
    found.append(np.array([kwh.max(), kwh.mean(), kwh.std(), roots.mean(), roots.std(), (kwh == 0).mean()]))
    values = np.concatenate(found)
    return np.unique(values[values > 0])


def of_lonely(real: HouseholdProfiles) -> FloatArray:
    """Numbers of the one household that nobody else's are like, its single half-hours among them."""
    kwh = real.kwh[real.segment == real.segments.index(LONELY)].astype(np.float64)
    day = kwh.sum(axis=1)
    return np.concatenate([kwh.ravel(), kwh.mean(axis=0), day, [day.mean(), day.min(), day.max()]])


def numbers_in(folder: Path) -> FloatArray:
    """Every number in every table, card and text of a folder; figures are drawn from the tables."""
    found: list[float] = []
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".parquet":
            frame = pd.read_parquet(file).select_dtypes("number")
            found += frame.to_numpy(np.float64, na_value=np.nan).ravel().tolist()
        elif file.suffix in (".json", ".yaml", ".log", ".html", ".csv"):
            text = re.sub(r"base64,[^\"]*", "", file.read_text(encoding="utf-8"))
            found += [float(number) for number in re.findall(r"(?<![\w.])\d+\.\d+(?:e[+-]?\d+)?(?![\w.])", text)]
        elif file.suffix == ".safetensors":
            found += tensors_of(file)
    return np.array(found)


def tensors_of(file: Path) -> list[float]:
    return [float(value) for tensor in load_file(file).values() for value in np.ravel(tensor)]


def hits(numbers: FloatArray, wanted: FloatArray, rtol: float) -> int:
    """How many of the wanted numbers are there."""
    numbers = np.sort(numbers[np.isfinite(numbers)])
    at = np.searchsorted(numbers, wanted).clip(1, len(numbers) - 1)
    distance = np.minimum(np.abs(numbers[at] - wanted), np.abs(numbers[at - 1] - wanted))
    return int((distance <= rtol * np.abs(wanted)).sum())


def test_no_number_of_the_only_household_of_a_segment_is_handed_over(handed: Handed, attacked: Attacked) -> None:
    wanted = of_lonely(handed.real)
    before, after, kept = (
        hits(numbers_in(folder), wanted, 1e-7) for folder in (handed.everything, handed.release, handed.internal)
    )
    assert before >= 50, "positive control: its own mean curve stands in a description of anybody"
    assert (after, kept) == (0, 0), "nor is it described for the owner"
    attacked("numbers of a segment of one household in the release", len(wanted), f"{before} found", f"{after} found")


def test_numbers_of_real_households_are_for_their_owner(handed: Handed, attacked: Attacked) -> None:
    wanted = functions(handed.real)
    found = {folder: hits(numbers_in(folder), wanted, 1e-9) for folder in (handed.release, handed.internal)}
    assert found[handed.internal] > 100, "positive control"
    assert found[handed.release] <= 3, "two random numbers may be equal to nine digits; a description is hundreds"
    before = hits(numbers_in(handed.everything), wanted, 1e-9)
    attacked(
        "means and quantiles of real households in the release",
        len(wanted),
        f"{before} found",
        f"{found[handed.release]} found ({found[handed.internal]} in the owner's folder)",
    )
    assert stat.S_IMODE(handed.internal.stat().st_mode) == 0o700
    assert handed.internal not in handed.release.rglob("*")
    page = (handed.release / "index.html").read_text()
    assert handed.internal.name in page
    assert "real" not in set(pd.read_parquet(handed.release / "records.parquet")["generator"])


def test_no_fingerprint_of_the_data_is_handed_over(handed: Handed, attacked: Attacked) -> None:
    def known(folder: Path) -> int:
        texts = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
        return sum(secret.encode() in text for text in texts for secret in handed.secrets)

    assert known(handed.internal), "positive control: the log names the kept release"
    assert not known(handed.release)
    card = read_json(handed.release / "run.json")
    assert not {"dependencies", "seconds"} & set(card), "a hash of the data, and a time that depends on it"
    assert not list(handed.release.rglob("*.log"))
    attacked("fingerprints of the data in the release", len(handed.secrets), "1 (log), hash in run.json", "0")


def recovered(records: pd.DataFrame, of: str, curve: FloatArray) -> float:
    """Relative error of the best guess of a curve: the whole minus any of the segments that are described."""
    own = records[(records["generator"] == of) & records["label"].isin(["segment"]) | records["label"].isna()]
    own = own[own["generator"] == of]

    def total(label_value: str | None) -> tuple[float, FloatArray]:
        part = own[own["of"].isna() & own["label"].isna()] if label_value is None else own[own["of"] == label_value]
        n = part.loc[part["metric"] == "profiles", "value"].iloc[0]
        return n, n * part.loc[part["metric"] == "mean_profile", "value"].to_numpy()

    n, whole = total(None)
    described = own.loc[(own["metric"] == "profiles") & own["of"].notna() & (own["value"] > 0), "of"]
    parts = [total(name) for name in described]
    best = np.inf
    for many in range(len(parts) + 1):
        for chosen in combinations(parts, many):
            rest = n - sum(part[0] for part in chosen)
            if rest > 0:
                guess = (whole - sum(part[1] for part in chosen)) / rest
                best = min(best, float(np.linalg.norm(guess - curve) / np.linalg.norm(curve)))
        best = min([best, *(float(np.linalg.norm(p[1] / p[0] - curve) / np.linalg.norm(curve)) for p in parts)])
    return best


def test_what_is_left_out_is_no_difference_of_what_is_said(handed: Handed, attacked: Attacked) -> None:
    lonely = handed.real.segment == handed.real.segments.index(LONELY)
    curve = handed.real.kwh[lonely].mean(axis=0, dtype=np.float64)
    everything = pd.read_parquet(handed.everything / "records.parquet")
    # Left out alone, it would be the whole minus the others.
    others = everything[everything["of"] != LONELY]
    assert recovered(others, "public start", curve) < 1e-6, "positive control"
    after = recovered(pd.read_parquet(handed.internal / COMPARISON), "real", curve)
    assert after > 0.5
    attacked("a segment of one household from differences", 1, "exact", f"error {100 * after:.0f} %")


def subtracted(folder: Path, hour: FloatArray, n_loads: int) -> float:
    """Least relative error of an hour that the sums of any two models below a folder differ by, hidden files too."""
    best = np.inf
    kept = [load_file(file) for file in sorted(folder.rglob("*.safetensors"))]
    sums = [tensors["statistics.moments"] for tensors in kept if "statistics.moments" in tensors]
    for one, other in combinations([moments for moments in sums if moments.shape == sums[0].shape], 2):
        high, low = (one - other)[0]  # of the single group of outputs
        difference = high + low
        # z z' of one row z = [features, 1, loads]: the row of the intercept is z itself, whichever model is the older.
        row = difference[len(hour) - n_loads - 1]
        best = min(best, *(float(np.linalg.norm(sign * row - hour) / np.linalg.norm(hour)) for sign in (1, -1)))
    return best


def test_the_models_of_before_and_after_give_no_forgotten_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attacked: Attacked
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Runner(tmp_path, monkeypatch)
    hour = [
        "criterion=none",
        "unlearning.selection=time_range",
        "unlearning.start=2019-01-07",
        "unlearning.end=2019-01-07 01:00",
    ]
    said = read_json(run("unlearn", *hour) / "forgotten.json")
    old, new = (unlearn.load_forecaster(said[which]["folder"]) for which in ("model_before", "model_after"))
    assert [len(model.card.forgotten) for model in (old, new)] == [0, 1]
    config = composed("unlearn", *smaller("unlearn"))
    dataset = build_dataset(config, config.grid.build())
    rows = np.flatnonzero(dataset.timestamps == pd.Timestamp(said["hours"][0][0]))
    forgotten = np.concatenate([old.design_of(dataset, rows)[0].numpy(), dataset.load_pu[rows[0]]])
    before = subtracted(tmp_path, forgotten, dataset.n_loads)
    assert before < 1e-11, "positive control"

    said = read_json(run("unlearn", *hour, "unlearning.destroy_old=true") / "forgotten.json")
    after = subtracted(tmp_path, forgotten, dataset.n_loads)
    assert after > 1e-3
    assert list(tmp_path.rglob("*.safetensors")), "the model that has forgotten is there"
    assert not [one for one in said["still_held"] if one["what"].startswith("a model")]
    found = f"error {after:.0e}" if np.isfinite(after) else "no two models left"
    attacked("a forgotten hour from the sums of two models", 1, f"error {before:.0e}", found)
