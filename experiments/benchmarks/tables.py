"""The tables of a benchmark as Markdown, from its records."""

from __future__ import annotations

import pandas as pd

from experiments.benchmarks.anomaly import LEAN
from experiments.benchmarks.anomaly import PUBLISHED as AS_PUBLISHED
from experiments.benchmarks.dispatch import TIMED
from unlearn.reporting.style import NOT_A_RESULT

#: Searches of single windows that all are compared with.
SINGLES = {"published": AS_PUBLISHED, "lean": LEAN}

PUBLISHED = "cvxpylayers default, angle (published)"

_AGREEMENT = {
    "largest cost difference": "cost_difference",
    "gradient rows off by > 1e-3": "gradients_off",
    "median gradient error": "gradient_error",
}

_NETWORK = {"peak memory [MB]": "peak_memory", "steps": "steps", "Spearman with the tight solve": "spearman"}


def as_text(records: pd.DataFrame, tiny: bool = False) -> str:
    """All tables that the records allow, and a warning below those of a tiny run."""
    # Parts that were not run have left no columns.
    missing = [column for column in ("state", "hours", "what", "part", "buses") if column not in records]
    records = records.assign(**dict.fromkeys(missing))
    tables = (
        _dispatch,
        _curvature,
        _influence,
        _scaling,
        _cold,
        _feeder,
        _anomaly,
        _tuning,
        _customers,
        _requests,
        _certified,
        _private_sums,
        _joint,
        _encrypted,
    )
    warning = f"{NOT_A_RESULT}\n" if tiny else ""
    return "\n".join(text for text in (table(records) for table in tables) if text) + warning


def _dispatch(records: pd.DataFrame) -> str:
    dispatch = records[records["unit"].eq("us/h") & records["what"].isin(TIMED)]
    keys = ["grid", "method", "state", "hours"]
    rows = []
    for (grid, method, state, hours), own in dispatch.groupby(keys, sort=False):
        peers = dispatch[(dispatch["grid"] == grid) & (dispatch["method"] == PUBLISHED)]
        facts = records[(records[keys] == [grid, method, state, hours]).all(axis=1)]
        row = {"grid": grid, "backend": f"{method}, {state}" if state else method, "hours": int(hours)}
        for what in TIMED:
            timed = own[own["what"] == what]
            row[f"{what} [us/h]"] = _times(timed)
            row[f"{what}: published / this"] = _ratio(peers[peers["what"] == what], timed)
        row |= {name: _value(facts, metric) for name, metric in _AGREEMENT.items()}
        row["regions"] = _by_program(facts, "regions", ".0f")
        row["hit rate"] = _by_program(facts, "hit_rate", ".4f")
        row["worst KKT residual"] = _text(facts.loc[facts["metric"] == "kkt_residual", "value"].max())
        rows.append(row)
    failed = records[records["metric"] == "failed"]
    said = [f"{row.method} found no acceptable solution for some hours of {row.grid}." for row in failed.itertuples()]
    return _markdown("Dispatch and redispatch", rows) + "".join(f"{sentence}\n\n" for sentence in said)


def _curvature(records: pd.DataFrame) -> str:
    groups = records[records["part"] == "curvature"].groupby(["what", "method"], sort=False)
    return _markdown("Curvature", [_solve(what, method, own) for (what, method), own in groups])


def _influence(records: pd.DataFrame) -> str:
    rows = []
    for what, problem in records[records["part"] == "influence"].groupby("what", sort=False):
        slowest = problem.loc[problem["metric"] == "time_median", "value"].max()
        for method, own in problem.groupby("method", sort=False):
            row = _solve(what, method, own) | {"slowest / this": _text(slowest / _number(own, "time_median"), ",.1f")}
            rows.append(row | {name: _value(own, metric, ",.4g") for name, metric in _NETWORK.items()})
    return _markdown("Influence functions of any model", rows)


def _solve(what: str, method: str, own: pd.DataFrame) -> dict[str, object]:
    row = {"what": what, "method": method, "time [ms]": _times(own, 1e3)}
    return row | {metric: _value(own, metric) for metric in ("error", "condition")}


def _scaling(records: pd.DataFrame) -> str:
    rows = [
        {"hours": f"{int(hours):,}", "time [s]": _times(own), "peak memory [MB]": _value(own, "peak_memory", ".0f")}
        | {"regions": _value(own, "regions", ".0f")}
        for hours, own in records[records["state"].eq("streamed")].groupby("hours")
    ]
    text = _markdown("Hours, streamed in chunks, with gradients", rows)
    grids = records[records["what"].eq("grids") & records["buses"].notna()]
    rows = [
        {"grid": grid, "buses": int(buses), "warm [us/h]": _times(own), "regions": _value(own, "regions", ".0f")}
        for (grid, buses), own in grids.groupby(["grid", "buses"], sort=False)
    ]
    text += _markdown("Grids, warm, forward + backward", rows)
    exponents = records[records["metric"] == "exponent"]
    for what, value in zip(exponents["what"], exponents["value"], strict=True):
        text += f"Fitted exponent of time over {what}: {value:.2f}\n"
    return text


def _cold(records: pd.DataFrame) -> str:
    starts = records[records["state"].eq("cold start")].groupby("what", sort=False)
    return _markdown("Cold start", [{"from a fresh process": what, "time [s]": _times(own)} for what, own in starts])


def _feeder(records: pd.DataFrame) -> str:
    feeder = records[records["part"] == "feeder"]
    alone = feeder["state"].eq("own process")
    rows = []
    for what, size in feeder[~alone].groupby("what", sort=False):
        own = size[size["method"] == "generate_all + save_outputs"]
        stated = _number(size, "time_stated")
        row = {"what": what, "time [s]": _times(own), "document's own [s]": f"{stated:g}"}
        rows.append(row | {"document / this": f"{stated / _number(own, 'time_median'):,.0f}"})
    text = _markdown("Synthetic feeders, generated, checked and written", rows)
    rows = [
        {"what": what, "into": method, "time [s]": _times(own), "peak memory [MB]": _value(own, "peak_memory", ".0f")}
        for (method, what), own in feeder[alone].groupby(["method", "what"], sort=False)
    ]
    return text + _markdown("Synthetic feeders by number of meters, each in a process of its own", rows)


def _anomaly(records: pd.DataFrame) -> str:
    rows, said = [], ""
    for what, problem in records[records["part"] == "anomaly"].groupby("what", sort=False):
        for method, own in problem.groupby("method", sort=False):
            row = {"windows": f"{_value(own, 'windows', '.0f')} of {what}", "search": method}
            row["time [ms/window]"] = _times(own)
            for name, single in SINGLES.items():
                row[f"{name} / this"] = _ratio(problem[problem["method"] == single], own, ",.1f")
            row |= {"mean steps": _value(own, "steps", ".0f"), "score": _value(own, "score_change", "+.2%")}
            row |= {"largest difference": _value(own, "score_difference"), "Spearman": _value(own, "spearman")}
            row["AUC"] = _value(own, "auc")
            change, low, high = (_value(own, f"auc_change{which}", "+.3f") for which in ("", "_low", "_high"))
            row["change of AUC (95 %)"] = f"{change} ({low} to {high})" if change else ""
            rows.append(row)
        alone, early, double, single = (
            _value(problem, f"{which}_difference") for which in ("alone", "early", "double", "single")
        )
        said += (
            f"Largest relative difference of scores, {what}: alone and in a batch {alone}; autograd and ours in "
            f"float64 {early} after 100 steps, {double} after all; float32 and float64 {single}.\n\n"
        )
    return _markdown("Latent inversion; scores relative to all steps", rows) + said


def _tuning(records: pd.DataFrame) -> str:
    rows = []
    for (what, method), own in records[records["part"] == "tuning"].groupby(["what", "method"], sort=False):
        times = {f"{state} [ms]": _times(own[own["state"] == state], 1e3) for state in ("warm", "cold")}
        rows.append({"what": what, "method": method, **times, "steps": _value(own, "steps", ".0f")})
    return _markdown("Tuning, critical regions known (warm) or not (cold)", rows)


def _customers(records: pd.DataFrame) -> str:
    rows = []
    for (what, method), own in records[records["part"] == "customers"].groupby(["what", "method"], sort=False):
        timed = (own["metric"] == "time_median").any()
        times = _times(own) if timed else ""
        rows.append(
            {"what": what, "step": method, "time [s]": times, "peak memory [MB]": _value(own, "peak_memory", ",.0f")}
        )
    return _markdown("Customers: meters in a file, loads of a grid", rows)


def _requests(records: pd.DataFrame) -> str:
    own = records[records["part"] == "requests"]
    rows = [
        {"what": what, "step": method, "time [s]": _times(part)}
        for (what, method), part in own.groupby(["what", "method"], sort=False)
    ]
    return _markdown("Deletion requests: an encrypted registry of data and models", rows)


def _certified(records: pd.DataFrame) -> str:
    own = records[records["part"] == "certified"]
    rows = []
    for keys, part in own.groupby(["what", "method", "sigma"] if len(own) else ["what"], sort=False):
        what, method, sigma = keys
        rows.append(
            {
                "what": what,
                "loss": method,
                "noise σ": f"{sigma:g}",
                "residual / bound, median": _value(part, "residual_of_bound"),
                "largest": _value(part, "largest_residual_of_bound"),
                "distance to a refit · l2 / bound": _value(part, "distance_of_bound"),
                "removals until a retrain is due": _value(part, "removals", ",.0f") if sigma else "0",
                "MAPE [%]": _value(part, "mape", ".3g"),
                "step [s]": _times(part[part["step"] == "Newton step"]),
                "fit [s]": _times(part[part["step"] == "fit"]),
            }
        )
    return _markdown("Certified removal, epsilon 1, delta 1e-5", rows)


def _private_sums(records: pd.DataFrame) -> str:
    own = records[records["part"] == "private_sums"]
    rows = [
        {
            "what": what,
            "with": method,
            "meters [s]": _value(part, "meters_seconds", ".3g"),
            "each aggregator [s]": _value(part, "aggregator_seconds", ".3g"),
            "opening [s]": _value(part, "opening_seconds", ".3g"),
            "bytes of a meter": _value(part, "meter_bytes", ",.0f"),
            "bytes in all": _value(part, "bytes", ",.0f"),
            "largest error": _value(part, "error", ".3g"),
        }
        for (what, method), part in own.groupby(["what", "method"], sort=False)
    ]
    return _markdown("Sums of meters, of which nobody sees one", rows)


def _joint(records: pd.DataFrame) -> str:
    rows = [
        {
            "what": what,
            "among": method,
            "online [s]": _value(own, "online_seconds", ".2g"),
            "with starting [s]": _value(own, "seconds", ".2g"),
            "kB sent by one": _value(own, "party_kilobytes", ",.0f"),
            "largest error": _value(own, "error", ".2g"),
        }
        for (what, method), own in records[records["part"] == "joint"].groupby(["what", "method"], sort=False)
    ]
    return _markdown("Joint computations in processes of their own", rows)


def _encrypted(records: pd.DataFrame) -> str:
    rows = []
    for (what, method), own in records[records["part"] == "encrypted"].groupby(["what", "method"], sort=False):
        times = {
            f"{step} [s]": _text(_number(own[own["step"] == step], "seconds"), ".3g")
            for step in ("make keys", "encrypt", "compute", "decrypt")
        }
        facts = {
            "bytes": _value(own, "bytes", ",.0f"),
            "error": _value(own, "error"),
            "bound of the error": _value(own, "bound"),
            "size [MB]": _value(own, "size", ".3g"),
            "peak memory [MB]": _value(own, "peak_memory", ".3g"),
        }
        rows.append({"what": what, "with": method} | times | facts)
    return _markdown("Encrypted sums and forecasts", rows)


def _number(records: pd.DataFrame, metric: str) -> float:
    """The first value of a metric; NaN if there is none."""
    values = records.loc[records["metric"] == metric, "value"]
    return float(values.iloc[0]) if len(values) else float("nan")


def _value(records: pd.DataFrame, metric: str, pattern: str = ".2g") -> str:
    return _text(_number(records, metric), pattern)


def _text(value: float, pattern: str = ".2g") -> str:
    return "" if pd.isna(value) else format(value, pattern)


def _ratio(others: pd.DataFrame, own: pd.DataFrame, pattern: str = ",.0f") -> str:
    return _text(_number(others, "time_median") / _number(own, "time_median"), pattern)


def _times(records: pd.DataFrame, scale: float = 1.0) -> str:
    median, least, most = (scale * _number(records, f"time_{metric}") for metric in ("median", "min", "max"))
    return f"{median:.3g} ({least:.3g} to {most:.3g})"


def _by_program(records: pd.DataFrame, metric: str, pattern: str) -> str:
    return " + ".join(format(value, pattern) for value in records.loc[records["metric"] == metric, "value"])


def _markdown(title: str, rows: list[dict[str, object]]) -> str:
    if not rows:
        return ""
    kept = [name for name in rows[0] if any(str(row[name]) for row in rows)]
    lines = ["| " + " | ".join(kept) + " |", "|" + " --- |" * len(kept)]
    lines += ["| " + " | ".join(str(row[name]) for name in kept) + " |" for row in rows]
    return "\n".join([f"## {title}", "", *lines, "", ""])
