"""The tables of a benchmark as Markdown, from its records."""

from __future__ import annotations

import pandas as pd

from experiments.benchmarks.anomaly import LEAN
from experiments.benchmarks.anomaly import PUBLISHED as AS_PUBLISHED
from experiments.benchmarks.dispatch import TIMED

#: Searches of single windows that all are compared with.
SINGLES = {"published": AS_PUBLISHED, "lean": LEAN}

PUBLISHED = "cvxpylayers default, angle (published)"


def as_text(records: pd.DataFrame) -> str:
    """All tables that the records allow."""
    # Parts that were not run have left no columns.
    missing = [column for column in ("state", "hours", "what", "part", "buses", "stage") if column not in records]
    records = records.assign(**dict.fromkeys(missing))
    parts = [
        _dispatch(records),
        _curvature(records),
        _influence(records),
        _scaling(records),
        _cold(records),
        _stages(records),
        _feeder(records),
        _anomaly(records),
    ]
    return "\n".join(part for part in parts if part)


def _dispatch(records: pd.DataFrame) -> str:
    dispatch = records[records["unit"].eq("us/h") & records["what"].isin(TIMED)]
    rows = []
    for (grid, method, state, hours), own in dispatch.groupby(["grid", "method", "state", "hours"], sort=False):
        peers = dispatch[(dispatch["grid"] == grid) & (dispatch["method"] == PUBLISHED)]
        facts = records[
            (records["grid"] == grid)
            & (records["method"] == method)
            & (records["state"] == state)
            & (records["hours"] == hours)
        ]
        row = {"grid": grid, "backend": f"{method}, {state}" if state else method, "hours": int(hours)}
        for what in TIMED:
            times = own[own["what"] == what].set_index("metric")["value"]
            reference = _value(peers[peers["what"] == what], "time_median")
            row[f"{what} [us/h]"] = _spread(times)
            row[f"{what}: published / this"] = "" if pd.isna(reference) else f"{reference / times['time_median']:,.0f}"
        row |= {name: _format(_value(facts, metric)) for name, metric in _AGREEMENT.items()}
        row["regions"] = _by_program(facts, "regions", "{:.0f}")
        row["hit rate"] = _by_program(facts, "hit_rate", "{:.4f}")
        row["worst KKT residual"] = _format(facts.loc[facts["metric"] == "kkt_residual", "value"].max())
        rows.append(row)
    failed = records[records["metric"] == "failed"]
    said = [f"{row.method} found no acceptable solution for some hours of {row.grid}." for row in failed.itertuples()]
    return _markdown("Dispatch and redispatch", rows) + "".join(f"{sentence}\n\n" for sentence in said)


_AGREEMENT = {
    "largest cost difference": "cost_difference",
    "gradient rows off by > 1e-3": "gradients_off",
    "median gradient error": "gradient_error",
}


def _curvature(records: pd.DataFrame) -> str:
    curvature = records[records["part"] == "curvature"]
    rows = []
    for (what, method), own in curvature.groupby(["what", "method"], sort=False):
        times = own[own["metric"].str.startswith("time_")].set_index("metric")["value"]
        row = {"what": what, "method": method, "time [ms]": _spread(1e3 * times)}
        row["error"] = _format(_value(own, "error"))
        row["condition"] = _format(_value(own, "condition"))
        rows.append(row)
    return _markdown("Curvature", rows)


_NETWORK = {"peak_memory": "peak memory [MB]", "steps": "steps", "spearman": "Spearman with the tight solve"}


def _influence(records: pd.DataFrame) -> str:
    influence = records[records["part"] == "influence"]
    rows = []
    for what, problem in influence.groupby("what", sort=False):
        slowest = problem.loc[problem["metric"] == "time_median", "value"].max()
        for method, own in problem.groupby("method", sort=False):
            times = own[own["metric"].str.startswith("time_")].set_index("metric")["value"]
            row = {"what": what, "method": method, "time [ms]": _spread(1e3 * times)}
            row["slowest / this"] = f"{slowest / times['time_median']:,.1f}"
            row["error"] = _format(_value(own, "error"))
            row["condition"] = _format(_value(own, "condition"))
            for metric, name in _NETWORK.items():
                value = _value(own, metric)
                row[name] = "" if pd.isna(value) else f"{value:,.4g}"
            rows.append(row)
    return _markdown("Influence functions of any model", rows)


def _scaling(records: pd.DataFrame) -> str:
    rows = []
    streamed = records[records["state"].eq("streamed")]
    for hours, own in streamed.groupby("hours"):
        times = own[own["metric"].str.startswith("time_")].set_index("metric")["value"]
        memory, regions = _value(own, "peak_memory"), _value(own, "regions")
        rows.append(
            {
                "hours": f"{int(hours):,}",
                "time [s]": _spread(times),
                "peak memory [MB]": f"{memory:.0f}",
                "regions": f"{regions:.0f}",
            }
        )
    text = _markdown("Hours, streamed in chunks, with gradients", rows)
    grids = records[records["what"].eq("grids") & records["buses"].notna()]
    rows = []
    for (grid, buses), own in grids.groupby(["grid", "buses"], sort=False):
        times = own[own["metric"].str.startswith("time_")].set_index("metric")["value"]
        regions = f"{_value(own, 'regions'):.0f}"
        rows.append({"grid": grid, "buses": int(buses), "warm [us/h]": _spread(times), "regions": regions})
    text += _markdown("Grids, warm, forward + backward", rows)
    exponents = records[records["metric"] == "exponent"]
    for what, value in zip(exponents["what"], exponents["value"], strict=True):
        text += f"Fitted exponent of time over {what}: {value:.2f}\n"
    return text


def _cold(records: pd.DataFrame) -> str:
    rows = []
    for what, own in records[records["state"].eq("cold start")].groupby("what", sort=False):
        rows.append({"from a fresh process": what, "time [s]": _spread(own.set_index("metric")["value"])})
    return _markdown("Cold start", rows)


def _stages(records: pd.DataFrame) -> str:
    stages = records[records["metric"] == "stage_time"]
    if stages.empty:
        return ""
    table = stages.pivot_table(
        index="stage", columns=["protocol", "forecaster"], values="value", aggfunc="sum", sort=False
    )
    rows = [
        {
            "stage": stage,
            **{
                f"{forecaster}, {protocol}": "–" if pd.isna(value) else f"{value:.1f}"
                for (protocol, forecaster), value in row.items()
            },
        }
        for stage, row in table.iterrows()
    ]
    wall = float(records.loc[records["metric"] == "wall_time", "value"].iloc[0])
    return _markdown(f"make paper: {wall:.0f} s of wall time; seconds by stage", rows)


def _feeder(records: pd.DataFrame) -> str:
    feeder = records[records["part"] == "feeder"]
    own = feeder["state"].eq("own process")
    rows = []
    for what, size in feeder[~own].groupby("what", sort=False):
        times = size[size["method"] == "generate_all + save_outputs"].set_index("metric")["value"]
        stated = _value(size, "time_stated")
        row = {"what": what, "time [s]": _spread(times), "document's own [s]": f"{stated:g}"}
        rows.append({**row, "document / this": f"{stated / times['time_median']:,.0f}"})
    text = _markdown("Synthetic feeders, generated, checked and written", rows)
    rows = []
    for (method, what), size in feeder[own].groupby(["method", "what"], sort=False):
        times = size[size["metric"].str.startswith("time_")].set_index("metric")["value"]
        memory = f"{_value(size, 'peak_memory'):.0f}"
        rows.append({"what": what, "into": method, "time [s]": _spread(times), "peak memory [MB]": memory})
    return text + _markdown("Synthetic feeders by number of meters, each in a process of its own", rows)


def _anomaly(records: pd.DataFrame) -> str:
    rows, said = [], ""
    for what, problem in records[records["part"] == "anomaly"].groupby("what", sort=False):
        medians = problem[problem["metric"] == "time_median"].set_index("method")["value"]
        for method, own in problem.groupby("method", sort=False):
            times = own[own["metric"].str.startswith("time_")].set_index("metric")["value"]
            row = {"windows": f"{_value(own, 'windows'):.0f} of {what}", "search": method}
            row |= {"time [ms/window]": _spread(times)}
            for name, single in SINGLES.items():
                row[f"{name} / this"] = f"{medians[single] / times['time_median']:,.1f}"
            row |= {"mean steps": f"{_value(own, 'steps'):.0f}", "score": f"{_value(own, 'score_change'):+.2%}"}
            row |= {"largest difference": _format(_value(own, "score_difference"))}
            row |= {"Spearman": _format(_value(own, "spearman")), "AUC": _format(_value(own, "auc"))}
            change, low, high = (_value(own, f"auc_change{which}") for which in ("", "_low", "_high"))
            row["change of AUC (95 %)"] = "" if pd.isna(change) else f"{change:+.3f} ({low:+.3f} to {high:+.3f})"
            rows.append(row)
        alone, early, double, single = (
            _value(problem, f"{which}_difference") for which in ("alone", "early", "double", "single")
        )
        said += (
            f"Largest relative difference of scores, {what}: alone and in a batch {alone:.2g}; autograd and ours in "
            f"float64 {early:.2g} after 100 steps, {double:.2g} after all; float32 and float64 {single:.2g}.\n\n"
        )
    return _markdown("Latent inversion; scores relative to all steps", rows) + said


def _value(records: pd.DataFrame, metric: str) -> float:
    """The first value of a metric; NaN if there is none."""
    values = records.loc[records["metric"] == metric, "value"]
    return float(values.iloc[0]) if len(values) else float("nan")


def _spread(times: pd.Series) -> str:
    return f"{times['time_median']:.3g} ({times['time_min']:.3g} to {times['time_max']:.3g})"


def _by_program(records: pd.DataFrame, metric: str, pattern: str) -> str:
    values = records[records["metric"] == metric]
    return " + ".join(pattern.format(value) for value in values["value"])


def _format(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2g}"


def _markdown(title: str, rows: list[dict[str, object]]) -> str:
    if not rows:
        return ""
    names = list(rows[0])
    kept = [name for name in names if any(str(row[name]) for row in rows)]
    lines = ["| " + " | ".join(kept) + " |", "|" + " --- |" * len(kept)]
    lines += ["| " + " | ".join(str(row[name]) for name in kept) + " |" for row in rows]
    return "\n".join([f"## {title}", "", *lines, "", ""])
