"""The figure, the sentences and the page of fidelity, from records whose verdict is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.pages import assert_self_contained, read_page
from tests.studies.households import made_households
from unlearn.errors import InputError
from unlearn.generators import Resampled, ShuffledHours
from unlearn.households import split_households
from unlearn.records import RecordTable
from unlearn.reporting.figure import panels
from unlearn.studies._shared.fidelity.measure import REAL, compare_fidelity
from unlearn.studies._shared.options import FidelityOptions
from unlearn.studies.fidelity.report import colours_of, draw_ratios, figure, save, write_page
from unlearn.studies.fidelity.verdict import METRICS, distance_table, headline_table, headlines, page, summarise


def made_up(
    level: tuple[float, ...] = (1.1, 1.5), acf: float = 5.0, peaks: float = 1.0, inside: float = np.nan
) -> pd.DataFrame:
    """One generator, a seed for each level; `inside` is the ratio of peaks inside clusters."""
    table = RecordTable(experiment="fidelity", data="made up")
    for seed, value in enumerate(level):
        table.add("profiles", 1234, "profiles", generator=REAL, seed=seed)
        for generator, auc in ((REAL, 0.55), ("mine", 0.8)):
            for metric, number in (("auc", auc), ("auc_low", auc - 0.05), ("auc_high", auc + 0.05)):
                table.add(metric, number, "1", generator=generator, aspect="discriminative", seed=seed)
        for aspect, scope, _ in METRICS:
            own = {"aspect": aspect, "scope": scope, "seed": seed, "reference": "floor", "note": ""}
            ratio = {"level": value, "autocorrelation": acf, "peaks": peaks, "clusters": 2.0}[aspect]
            if (aspect, scope) == ("peaks", "mean over clusters"):
                ratio, own["note"] = inside, "not measured: too few" if np.isnan(inside) else ""
            table.add("headline", ratio, "1", generator="mine", **own)
            if scope == "all":
                table.add("headline", 1.3, "1", generator="mine", **(own | {"reference": "mean floor"}))
                for repeat, far in enumerate((0.5, 2.5)):
                    table.add("headline", far, "1", generator=REAL, repeat=repeat, **own)
        for distance, number in (("wasserstein", 3.0), ("ks", 7.5)):
            own = {"feature": "p95", "aspect": "level", "scope": "all", "distance": distance, "generator": "mine"}
            table.add("ratio", number, "1", reference="floor", seed=seed, **own)
    return table.to_frame()


def test_sentences_say_what_is_within_and_by_how_much_the_rest_is_not() -> None:
    about, ratios, classifier = summarise(made_up())
    assert "1,234 profiles a side, 2 seeds" in about
    assert "0.5 to 2.5 times that floor" in about
    assert "within 2 x the floor are level (1.30 x, 1.10 to 1.50), peaks (1.00 x), clusters (2.00 x)" in ratios
    assert "not within it are autocorrelation (5.00 x), autocorrelation inside clusters (5.00 x)" in ratios
    assert "not measured are peaks inside clusters (not measured: too few)" in ratios
    assert "Against the mean floor of all divisions: level (1.30 x)" in ratios
    assert "The largest of all ratios is that of 95th percentile, KS: 7.50 x." in ratios
    assert "an AUC of 0.80 (0.75 to 0.85), the real training households with 0.55 (0.50 to 0.60)" in classifier


def test_the_verdict_follows_the_mean_over_seeds() -> None:
    assert "not within it are level (2.05 x, 1.10 to 3.00)" in summarise(made_up((1.1, 3.0)))[1]
    assert "within 2 x the floor are level (1.95 x, 0.90 to 3.00)" in summarise(made_up((0.9, 3.0)))[1]
    assert "mine: every metric is within 2 x the floor" in summarise(made_up((1.0,), 1.5, 1.2, inside=1.2))[1]


def test_an_infinite_or_unmeasured_seed_is_not_averaged_away() -> None:
    assert headlines(made_up((1.0, np.inf)), "mine")["mean"][0] == np.inf
    assert np.isnan(headlines(made_up((1.0, np.nan)), "mine")["mean"][0])
    cells = [row["mine"] for row in headline_table(made_up((1.0, np.inf)))]
    assert cells[0] == "∞"
    assert cells[1] == "5.00"
    assert cells[-1] == "–"


def test_bars_start_at_as_good_as_real() -> None:
    records = made_up()
    axis = panels([["ratio"]])[1]["ratio"]
    draw_ratios(axis, records, colours_of(records))
    tops = [bar.get_y() + bar.get_height() for bar in axis.patches]
    np.testing.assert_allclose(tops, [1.3, 5.0, 1.0, 2.0, 1.3, 5.0])
    assert all(bar.get_y() == 1 for bar in axis.patches)
    assert [text.get_text() for text in axis.texts] == ["1.3", "5.0", "1.0", "2.0", "1.3", "5.0", "n/a"]
    draw_ratios(axis, made_up((np.inf,)), colours_of(records))
    assert "∞" in [text.get_text() for text in axis.texts]
    # The mean of three times 1.35 is not 1.35, and an error bar of less than nothing would be refused.
    draw_ratios(axis, made_up((1.35, 1.35, 1.35)), colours_of(records))


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    """Two seeds of a small comparison."""
    options = FidelityOptions(n_clusters=3, min_members=30, n_divisions=1)
    parts = []
    for seed in (0, 1):
        train, holdout = split_households(made_households(30, 20), 0.5, seed)
        releases = [make().release(train, 300, seed) for make in (Resampled, ShuffledHours)]
        parts.append(compare_fidelity(releases, train, holdout, options, seed).to_frame())
    return pd.concat(parts, ignore_index=True)


def test_the_figure_draws_the_records(records: pd.DataFrame) -> None:
    drawn = figure(records)
    axes = {axis.get_label(): axis for axis in drawn.axes}
    assert set(axes) == {
        *("mean", "p95", "acf", "timing", "magnitude", "occupancy", "auc", "ratio"),
        *(f"cluster {i}" for i in range(4)),
    }
    first = records[records["seed"] == 0]
    real = axes["mean"].get_lines()[-1]
    expected = first[(first["metric"] == "quantile") & (first["feature"] == "mean") & (first["side"] == "holdout")]
    np.testing.assert_allclose(real.get_xydata(), expected[["value", "at"]])
    occupancy = first[(first["feature"] == "occupancy") & (first["metric"] == "share") & (first["side"] != "train")]
    heights = sorted(bar.get_height() for bar in axes["occupancy"].patches)
    np.testing.assert_allclose(heights, sorted(occupancy["value"]))
    assert not axes["cluster 3"].axison  # three clusters, four places
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [REAL, "resampled", "shuffled_hours"]


def test_the_page_holds_everything(records: pd.DataFrame, tmp_path: Path) -> None:
    png = save(records, tmp_path / "fidelity")
    assert png.with_suffix(".pdf").exists()
    written = read_page(write_page(records, png, tmp_path / "fidelity.html"))
    assert_self_contained(written)
    for sentence in [*summarise(records), page(records).because]:
        assert sentence in written
    rows = distance_table(records, inside=False)
    # 17 distances of features over all profiles and again over clusters, 2 of occupancy, for two generators.
    assert len(rows) == 2 * (17 + 2 + 17)
    own = records[(records["generator"] == "resampled") & (records["scope"] == "all") & (records["feature"] == "mean")]
    own = own[own["distance"] == "wasserstein"]
    mean = own.groupby(["metric", "reference"])["value"].mean()
    (row,) = [r for r in rows if list(r.values())[:4] == ["resampled", "all", "mean", "Wasserstein"]]
    assert row["unit"] == "kWh"
    assert row["to holdout"] == f"{mean['distance', 'holdout']:.3g}"
    assert row["ratio"] == f"{mean['ratio', 'floor']:.3g}"
    assert row["ratio to mean floor"] == f"{mean['ratio', 'mean floor']:.3g}"
    inside = distance_table(records, inside=True)
    assert {row["cluster"] for row in inside} == {"1", "2", "3"}


def test_clusters_that_are_too_small_stand_in_the_table(records: pd.DataFrame) -> None:
    table = RecordTable(data="made up")
    where = {"generator": "resampled", "seed": 0, "scope": "cluster", "cluster": 2, "reference": "holdout"}
    table.add("distance", np.nan, "1", note="too few members (release 3)", **where)
    found = distance_table(pd.concat([records, table.to_frame()], ignore_index=True), inside=True)[-1]
    assert found["cluster"] == "3"
    assert found["of"] == "too few members (release 3)"
    assert found["ratio"] == "–"


def test_other_records_say_what_to_run() -> None:
    other = RecordTable()
    other.add("mse", 1.0)
    with pytest.raises(InputError, match="run compare_fidelity first"):
        summarise(other.to_frame())
