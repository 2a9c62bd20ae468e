"""Hand-made records of the study: round numbers, from which verdicts are told without a computer."""

import itertools

import pandas as pd

from unlearn.records import RecordTable

LEVELS, SPANS, EPSILONS = ("event", "day", "household"), ("hour", "year"), (0.5, 1.0)
#: Homes that 1 % takes at ε = 1 by level, for a year of hours; for one hour it is the first number at each level.
HOMES = {"event": 1200.0, "day": 12_000.0, "household": 300_000.0}
#: MAPE at ε = 1.
MAPE = {"event": 16.0, "day": 30.0, "household": 500.0}


def made_records(*, audited: float = 0.9, caught: float = 2.0, feeder_error: float = 0.6) -> pd.DataFrame:
    """Records of 250 homes.

    Args:
        audited: largest lower bound on ε = 1 of releases as they are.
        caught: lower bound on ε = 1 of releases that are broken on purpose.
        feeder_error: error of a feeder at ε = 1.
    """
    table = RecordTable(experiment="dp_release", data="made", grid="four", protocol="fair", split="test", seed=0)
    for name, value in {"customers": 250, "feeders": 14, "homes_per_feeder": 250 / 14, "hours": 8760,
                        "kwh_per_home": 0.42, "kwh_per_hour": 5, "kwh_per_day": 50, "main_epsilon": 1,
                        "clipping": 0.026, "clipping_hour": 0.004}.items():  # fmt: skip
        table.add(name, value, part="setting")
    _noise(table)
    for method, bound in (("intact", audited), ("intact", 0.2), ("half the scale", caught)):
        for query in ("sum", "count", "processed"):
            own = {"part": "audit", "method": method, "query": query, "runs": 10_000.0}
            table.add("epsilon_low", bound, **own, mechanism="discrete_laplace", level="household", epsilon=1.0)
    _errors(table, feeder_error)
    for rule, n, epsilon in (("basic", 24, 12), ("advanced", 24, 12), ("zcdp", 24, 15), ("basic", 8760, 4380),
                             ("advanced", 8760, 1319), ("zcdp", 8760, 1338)):  # fmt: skip
        own = {"composition": rule, "answers": float(n), "epsilon_each": 0.5, "delta": 1e-6}
        table.add("epsilon", epsilon, part="composition", **own)
    _questions(table)
    _utility(table)
    return table.to_frame()


def _noise(table: RecordTable) -> None:
    for mechanism in ("laplace", "discrete_gaussian"):
        own = {"part": "noise", "mechanism": mechanism, "level": "household", "query": "load_curve"}
        table.add("scale_formula", 100.0, "kwh", **own)
        table.add("scale_measured", 100.0, "kwh", **own)
        table.add("p_value", 0.5, **own)
        table.add("sd_ratio", 1.0, **own)
        table.add("sd_over_scale", 2**0.5 if mechanism == "laplace" else 1.0, **own)
        table.add("within_scale", 0.632, "share", **own)


def _errors(table: RecordTable, feeder_error: float) -> None:
    for level, span, epsilon, mechanism in itertools.product(
        LEVELS, SPANS, EPSILONS, ("discrete_laplace", "discrete_gaussian")
    ):
        own = {"part": "error", "level": level, "span": span, "epsilon": epsilon, "mechanism": mechanism}
        worse = 1 if mechanism == "discrete_laplace" else 3
        homes = worse * (HOMES[level] if span == "year" else 1200.0) / epsilon
        table.add("noise_scale", 5.0 / epsilon, "kwh", **own)
        for within in (0.01, 0.001):
            table.add("homes", homes * 0.01 / within, **own, within=within)
        table.add("homes_95", 3 * homes, **own)
        table.add("error_at_homes", 0.0101, "share", **own, homes=homes)
        for place, size in (("feeder", 1.0), ("substation", 0.25), ("area", 0.07)):
            here = {**own, "place": place}
            table.add("error", feeder_error * size * homes / 1200 / worse, "share", **here)
            table.add("within_1", 0.01, "share", **here)
            table.add("within_01", 0.001, "share", **here)


def _questions(table: RecordTable) -> None:
    own = {
        "part": "queries",
        "query": "histogram",
        "level": "household",
        "epsilon": 0.5,
        "mechanism": "discrete_laplace",
    }
    table.add("value", 17.0, "households", **own, low=11.0, high=23.0)
    table.add("coverage", 0.95, "share", **own, low=0.9, high=0.99)
    for name, value in {"truth": 16.0, "values": 15, "seconds": 0.01, "bytes": 9000, "empty_bins_filled": 0.3,
                        "absolute_error": 2.0}.items():  # fmt: skip
        table.add(name, value, **own)
    for homes, epsilon in ((250.0, 1.3), (1000.0, 0.33)):
        peak = {"part": "peak", "homes": homes, "level": "household", "mechanism": "discrete_laplace"}
        table.add("epsilon", epsilon, **peak, within=0.05)
        table.add("coverage", 0.95, "share", **peak, within=0.05)
        table.add("error", 0.05 * epsilon, "share", **peak)
    for place, method in itertools.product(("feeder", "area"), ("alone", "raw", "consistent", "non-negative")):
        error = {"alone": 1.0, "raw": 3.0, "consistent": 2.5, "non-negative": 1.5}[method]
        table.add("error", error, "share", part="hierarchy", place=place, method=method, level="event", epsilon=1.0)
    for method, ratio in (("central", 1.0), ("distributed", 1.0), ("local", 15.8)):
        for name, value in {"error": 0.05 * ratio, "sd": 7 * ratio, "ratio": ratio, "homes": 250}.items():
            table.add(name, value, part="local", method=method, level="event", epsilon=1.0)
    for name, value in {"error": 12.0, "drowned": 0.92}.items():
        table.add(name, value, "share", part="single", level="event", epsilon=1.0)


def _utility(table: RecordTable) -> None:
    known = {"true loads": 15.7, "week before": 19.4, "perfect forecast": 0.0}
    for larger in (1.0, 100.0):
        for method, mape in known.items():
            forecaster = "linear" if method == "true loads" else None
            own = {"part": "utility", "method": method, "larger": larger, "forecaster": forecaster}
            table.add("mape", mape, "percent", **own)
            table.add("cost", 80 + 25 * mape, "money/h", **own)
        for (level, mape), epsilon in itertools.product(MAPE.items(), EPSILONS):
            own = {"part": "utility", "method": "published", "level": level, "epsilon": epsilon, "larger": larger}
            own |= {"forecaster": "linear", "mechanism": "discrete_laplace"}
            table.add("mape", 15.7 + (mape - 15.7) / larger / epsilon, "percent", **own)
            table.add("cost", 80 + 25 * mape, "money/h", **own)
