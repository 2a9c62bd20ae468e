"""The figure, the sentences and the page of a release, and what a generator's card becomes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.generators.builders import households
from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.generators import Resampled
from unlearn.households import DailyProfiles
from unlearn.records import RecordTable
from unlearn.reporting.page import FOR_THE_OWNER
from unlearn.studies._shared.utility import REAL
from unlearn.studies.release.measure import PUBLIC, describe_release
from unlearn.studies.release.report import figure, save, training_figure, write_page
from unlearn.studies.release.verdict import (
    MOST_SEGMENTS,
    label_table,
    page,
    segments_of,
    settings_rows,
    summarise,
    whole_table,
)

REAL_PROFILES = households(24, 40)
RELEASE = Resampled().release(REAL_PROFILES, 500)
CARD = {
    "kind": "faraday",
    "seed": 3,
    "n_households": None,
    "options": {"vae": {"latent": 8, "learning_rate": 0.002}},
    "segments": ["late", "early"],
    "training": {"train": [3.0, 2.0, 1.5], "validation": [3.1, 2.4, 2.5], "best_epoch": 1, "stopped_early": True},
    "mixture": {"log_posterior": [-12.0, -11.0], "steps": 2, "converged": True},
}


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return describe_release(RELEASE, REAL_PROFILES, {"data": "made", "seed": 0}).to_frame()


@pytest.fixture(scope="module")
def png(records: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(records, tmp_path_factory.mktemp("drawn") / "release")


def half(profiles: DailyProfiles) -> DailyProfiles:
    return replace(profiles, name="half", kwh=profiles.kwh / 2)


def test_sentences_follow_the_numbers() -> None:
    whole = REAL_PROFILES.unlabelled()
    sentences = summarise(describe_release(half(whole), REAL_PROFILES, {"data": "made"}).to_frame())
    about, energy, steps, labels, furthest = sentences
    assert about == "half: 960 daily profiles in steps of 30 minutes, 2 segments; 960 real ones beside them."
    day = whole.kwh.sum(axis=1).mean()
    assert f"{day / 2:.2f} kWh a day (real {day:.2f}, ratio 0.50)" in energy
    assert "a year" in energy
    zero = 100 * (whole.kwh == 0).mean()
    largest = whole.kwh.max()
    assert f"{zero:.2f} % of steps are 0 (real {zero:.2f} %, ratio 1.00)" in steps
    assert steps.endswith(f"the largest step is {largest / 2:.2f} kWh."), "that of real profiles is one household's"
    assert "segment +0.0" in labels
    assert "kWh released" in furthest
    early = whole.take((whole.segment == 1) & (whole.month != 6))
    sentences = summarise(describe_release(early, REAL_PROFILES, {"data": "made"}).to_frame())
    assert "1 segment;" in sentences[0]
    assert "a year" not in sentences[1]
    assert "segment -50.0 (late)" in sentences[3] or "segment +50.0 (early)" in sentences[3]


def test_the_furthest_step_is_named() -> None:
    whole = REAL_PROFILES.unlabelled()
    kwh = whole.kwh.copy()
    kwh[whole.segment == 0, 37] += 5
    changed = replace(whole, name="changed", kwh=kwh)
    sentence = summarise(describe_release(changed, REAL_PROFILES).to_frame())[-1]
    real = whole.kwh[whole.segment == 0, 37].mean()
    assert f"in late at 18:30: {real + 5:.3f} kWh released, {real:.3f} real" in sentence


def test_a_release_alone_says_nothing_of_real_profiles(png: Path, tmp_path: Path) -> None:
    records = describe_release(RELEASE, None, {"data": "made"}).to_frame()
    assert len(summarise(records)) == 3
    written = read_page(write_page(records, png, tmp_path / "r.html"))
    assert "(real" not in written
    assert page(records).answer == "yes"  # it may be handed over
    assert "none was measured on the real ones" in written
    assert "The generator" not in written
    assert FOR_THE_OWNER not in written


def test_a_private_release_stands_beside_its_public_start(tmp_path: Path) -> None:
    records = describe_release(RELEASE, None, {"data": "made"}, half(REAL_PROFILES.unlabelled())).to_frame()
    about, energy, _, labels, furthest = summarise(records)
    assert about.endswith("960 of its public start beside them.")
    day = REAL_PROFILES.kwh.sum(axis=1).mean() / 2
    assert f"(public start {day:.2f}, ratio" in energy
    assert "shares to profiles of the public start" in labels
    assert furthest.endswith("public start.")
    drawn = save(records, tmp_path / "release")
    written = read_page(write_page(records, drawn, tmp_path / "r.html", CARD, "there-internal"))
    assert page(records).answer == "yes"
    assert "the folder there-internal" in written
    assert FOR_THE_OWNER not in written
    assert label_table(records, "month")[0]["public start profiles"]
    assert whole_table(records)[0][PUBLIC] == "960"


def test_of_ten_real_households_no_quantile_is_shown(tmp_path: Path) -> None:
    real = REAL_PROFILES.of_households(np.arange(10))
    kwh = real.kwh.copy()
    kwh[real.household == 0] += 100  # so that no value has all ten households on either side
    records = describe_release(RELEASE, replace(real, kwh=kwh), {"data": "made"}).to_frame()
    assert "day_quantile" not in set(records.loc[records["generator"] == REAL, "metric"])
    write_page(records, save(records, tmp_path / "r"), tmp_path / "r.html")
    assert {row[REAL] for row in whole_table(records) if "quantile" in row["of all profiles"]} == {"–"}


def test_of_few_real_households_nothing_is_drawn(tmp_path: Path) -> None:
    real = REAL_PROFILES.take((REAL_PROFILES.segment == 0) | (REAL_PROFILES.household < 8))
    records = describe_release(RELEASE, real, {"data": "made"}).to_frame()
    assert summarise(records)[-1].startswith("No segment is described in both")
    written = read_page(write_page(records, save(records, tmp_path / "r"), tmp_path / "r.html"))
    assert "groups of fewer than 10 households" in written
    assert label_table(records, "segment")[0].get("real profiles", "–") == "–"


def test_the_figure_draws_the_records(records: pd.DataFrame) -> None:
    drawn = figure(records)
    axes = {axis.get_label(): axis for axis in drawn.axes}
    assert [name for name in axes if name.startswith("segment")] == ["segment 0", "segment 1"]
    release, real = axes["segment 0"].get_lines()
    segment = segments_of(records)[0]
    for line, name in ((release, "resampled"), (real, REAL)):
        own = records[(records["generator"] == name) & (records["of"] == segment)]
        expected = own.loc[own["metric"] == "mean_profile", ["at", "value"]]
        np.testing.assert_allclose(line.get_xydata(), expected)
    assert axes["segment 0"].get_ylim() == axes["segment 1"].get_ylim()
    heights = [bar.get_height() for bar in axes["share month"].patches]
    shares = records[(records["metric"] == "share") & (records["label"] == "month")]
    np.testing.assert_allclose(heights, shares["value"])
    example = records[(records["metric"] == "example") & (records["number"] == 4)]
    kwh = axes["example resampled 4"].get_lines()[0].get_ydata()
    np.testing.assert_allclose(kwh[:-1], example["value"])
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["resampled", REAL]


@pytest.mark.parametrize("n_segments", [1, 3, 5, 10])
def test_any_number_of_segments_has_its_panels(n_segments: int, png: Path, tmp_path: Path) -> None:
    names = tuple(f"<{i}>" for i in range(n_segments))
    release = replace(RELEASE, segment=np.arange(500) % n_segments, segments=names)
    records = describe_release(release, None, {"data": "made"}).to_frame()
    shown = [axis for axis in figure(records).axes if axis.get_label().startswith("segment") and axis.axison]
    assert len(shown) == min(n_segments, MOST_SEGMENTS)
    written = read_page(write_page(records, png, tmp_path / "r.html"))
    assert ("most frequent of 10 segments" in written) == (n_segments == 10)
    assert "&lt;0&gt;" in written


def test_the_page_holds_everything(records: pd.DataFrame, png: Path, tmp_path: Path) -> None:
    assert png.with_suffix(".pdf").exists()
    written = read_page(write_page(records, png, tmp_path / "release.html", CARD))
    assert written.count('src="data:image/png;base64,iVBOR') == 2  # self-contained; the second is the training record
    assert_self_contained(written)
    for sentence in summarise(records):
        assert sentence in written
    assert page(records).answer == "no"
    assert FOR_THE_OWNER in written
    assert "options.vae.learning_rate" in written
    (row,) = [row for row in label_table(records, "month") if row["month"] == "Mar"]
    members = RELEASE.take(RELEASE.month == 3)
    assert row["profiles"] == str(len(members))
    assert row["share"] == f"{len(members) / 5:.2f} %"
    assert row["kWh a day"] == f"{members.kwh.sum(axis=1).mean():.2f}"
    assert row["real profiles"] == str((REAL_PROFILES.month == 3).sum())
    (row,) = [row for row in whole_table(records) if row["of all profiles"].startswith("energy of a day: 95 %")]
    assert row[REAL] == f"{np.quantile(REAL_PROFILES.kwh.sum(axis=1), 0.95):.3f}"


def test_a_card_becomes_rows_and_curves() -> None:
    rows = {row["setting"]: row["value"] for row in settings_rows(CARD)}
    assert rows["options.vae.learning_rate"] == "0.002"
    assert rows["segments"] == "late, early"
    assert rows["n_households"] == "–"
    assert rows["training.stopped_early"] == "yes"
    assert not any("log_posterior" in name or name.endswith(".train") for name in rows)
    drawn = training_figure(CARD)
    assert drawn is not None
    losses, posterior = drawn.axes
    np.testing.assert_allclose(losses.get_lines()[1].get_xydata(), [[1, 3.1], [2, 2.4], [3, 2.5]])
    assert losses.get_lines()[2].get_xdata()[0] == 2  # epoch 1, counted from 0
    np.testing.assert_allclose(posterior.get_lines()[0].get_ydata(), [-12, -11])
    only = training_figure({"mixture": CARD["mixture"]})
    assert only is not None
    assert len(only.axes) == 1
    assert training_figure({"kind": "other"}) is None


def test_bad_records_are_refused(records: pd.DataFrame) -> None:
    other = RecordTable()
    other.add("mse", 1.0)
    with pytest.raises(InputError, match="run describe_release first"):
        figure(other.to_frame())
    second = describe_release(half(RELEASE)).to_frame()
    with pytest.raises(InputError, match=r"one release, described once; got \['half', 'resampled'\]"):
        summarise(pd.concat([records, second]))
    with pytest.raises(InputError, match="described once"):
        summarise(pd.concat([records, records]))
    with pytest.raises(InputError, match="one release"):
        summarise(records[records["generator"] == REAL])
