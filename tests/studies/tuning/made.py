"""Records of the study that are made up: what each method costs relative to complete unlearning is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from unlearn.records import RecordTable

#: Of each method: cost relative to complete unlearning, MAPE in percent, bias in p.u., share of hours that shed.
METHODS = {
    ("original", None): (0.95, 8.5, 0.0, 0.30),
    ("retrained", None): (1.0, 9.0, 0.0, 0.34),
    ("reweighted", "mse"): (0.99, 8.9, 0.02, 0.32),
    ("reweighted", "mape"): (0.99, 8.8, 0.01, 0.33),
    ("reweighted", "cost"): (0.93, 10.0, 0.10, 0.24),
    ("scale", "cost"): (0.80, 12.0, 0.30, 0.10),
    ("affine", "cost"): (0.82, 12.5, 0.28, 0.11),
    ("quantile", "cost"): (0.84, 13.0, 0.25, 0.12),
    ("weights", "cost"): (0.88, 11.0, 0.15, 0.18),
    ("head", "cost"): (0.76, 16.0, 0.33, 0.08),
    ("chosen", "cost"): (0.77, 15.0, 0.32, 0.09),
    ("whole_network", "cost"): (0.75, 17.0, 0.35, 0.09),
}
#: AUC of attacks on values of audited methods that leak, and of attacks on bits; that of others is 0.5.
LEAKS = {"reweighted/cost": 0.90}
BIT_LEAKS = {"reweighted/cost": 1.0, "retrained": 1.0}
#: Methods of which no model is audited.
UNAUDITED = ("original", "reweighted/mse", "reweighted/mape", "chosen", "whole_network")
#: Cost with equal prices.
EQUAL = {"reweighted/cost": 1.10, "scale": 1.02, "affine": 1.01, "quantile": 1.0, "weights": 1.01, "head": 1.005}
PARTS = ("main", "other", "prices", "front", "steps", "audit")
RATIOS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0)
#: By forecaster, the λ₁ of the published programs.
BUDGETS = {"linear": 0.25, "cnn": 0.15, "mixer": 0.15}
UNITS = {"mse": "pu2", "mape": "percent", "bias": "pu", "seconds": "s", "distance_to_retrained": "relative"}
TUNINGS = ("scale", "affine", "quantile", "weights", "head")


def key(method: str, criterion: str | None) -> str:
    return f"reweighted/{criterion}" if method == "reweighted" else method


def made_up(
    ratios: Mapping[str, float] | None = None,
    mapes: Mapping[str, float] | None = None,
    leaks: Mapping[str, float] | None = None,
    bit_leaks: Mapping[str, float] | None = None,
    equal: Mapping[str, float] | None = None,
    sources: Mapping[str, str] | None = None,
    forecasters: Sequence[str] = ("linear", "cnn", "mixer"),
    seeds: Sequence[int] = (0, 1, 2),
    parts: Sequence[str] = PARTS,
    without: Sequence[str] = (),
    spread: float = 0.02,
    above: float = 0.0,
) -> pd.DataFrame:
    """Records in the layout of the study.

    Args:
        ratios: cost relative to complete unlearning of some methods, in place of those in `METHODS`.
        mapes: MAPE of some methods, likewise.
        leaks: AUC of attacks on values, in place of `LEAKS`.
        bit_leaks: of attacks on bits, in place of `BIT_LEAKS`.
        equal: relative costs with equal prices, in place of `EQUAL`.
        sources: grid of each data set.
        forecasters: of the main part.
        seeds: where something is random.
        parts: of the study.
        without: methods that were not measured.
        spread: standard deviation of relative costs over settings and seeds.
        above: by how much Frank-Wolfe ends above the single step.
    """
    sources = sources or {"gefcom2012-2005": "ieee14", "gefcom2012-2007": "ieee14", "bigdeal2022-2016": "ieee9"}
    random = np.random.default_rng(0)
    frames = []
    for data, grid in sources.items():
        common = {"experiment": "tuning", "data": data, "grid": grid, "protocol": "fair", "linf_budget": 1.0}
        level = 500.0 + 250.0 * len(frames)
        made = _Cells(RecordTable(**common), level, ratios or {}, mapes or {}, set(without), random, spread)
        first = not frames
        for forecaster in forecasters:
            for selection in ("helpful/mse", "random"):
                for seed in seeds if selection == "random" or forecaster != "linear" else seeds[:1]:
                    cell = {"forecaster": forecaster, "selection": selection, "proportion": 0.25, "seed": seed}
                    if "main" in parts:
                        made.main(**cell)
                    if "audit" in parts and first and seed == seeds[0]:
                        values, bits = LEAKS if leaks is None else leaks, BIT_LEAKS if bit_leaks is None else bit_leaks
                        made.audit(values, bits, **cell)
                if "steps" in parts and selection == "helpful/mse":
                    made.steps(above, forecaster=forecaster, selection=selection, proportion=0.25, seed=seeds[0])
        linear = {"forecaster": "linear", "seed": seeds[0]}
        if "other" in parts:
            for selection, share in (("helpful/mse", 0.05), ("harmful/mse", 0.25), ("month", 0.12)):
                made.priced("other", 5.0, {}, selection=selection, proportion=share, **linear)
        if "prices" in parts and grid == "ieee14":
            for ratio in RATIOS:
                weight = (5.0 - ratio) / 4.0 if ratio < 5 else 0.0
                target = {name: weight * value for name, value in (EQUAL if equal is None else equal).items()}
                made.priced("prices", ratio, target, selection="helpful/mse", proportion=0.25, weight=weight, **linear)
        if "front" in parts and first:
            made.front(selection="helpful/mse", proportion=0.25, **linear)
        frames.append(made.table.to_frame())
    return pd.concat(frames, ignore_index=True)


class _Cells:
    """Adds the records of cells to a table; of a cell, `level` is what complete unlearning costs."""

    def __init__(
        self,
        table: RecordTable,
        level: float,
        ratios: Mapping[str, float],
        mapes: Mapping[str, float],
        without: set[str],
        random: np.random.Generator,
        spread: float,
    ) -> None:
        self.table, self.level, self.ratios, self.mapes = table, level, ratios, mapes
        self.without, self.random, self.spread = without, random, spread

    def methods(self, forecaster: str) -> Iterator[tuple[str, dict[str, object], tuple[float, ...]]]:
        """Name, columns, and cost ratio, MAPE, bias, share of hours that shed of every method."""
        for (method, criterion), (ratio, mape, bias, sheds) in METHODS.items():
            name = key(method, criterion)
            if name in self.without or (name == "whole_network" and forecaster == "linear"):
                continue
            columns = {"method": method, "criterion": criterion}
            if method == "reweighted":
                columns["l1_budget"] = BUDGETS[forecaster]
            ratio = self.ratios.get(name, ratio)
            if name != "retrained":
                ratio *= 1 + self.spread * float(self.random.normal())
            yield name, columns, (ratio, self.mapes.get(name, mape), bias, sheds)

    def main(self, forecaster: str, **cell: object) -> None:
        """A cell of the main part."""
        base = self.level * (1 + 0.1 * float(self.random.random()))
        same = {"part": "main", "price_ratio": 5.0, "forecaster": forecaster, **cell}
        for name, columns, (ratio, mape, bias, sheds) in self.methods(forecaster):
            cost = base * ratio
            values = {"mse": 1e-5 * mape**2, "mape": mape, "cost": cost, "bias": bias, "sheds": sheds}
            values |= {"generation_cost": 0.6 * base, "storage_cost": 0.1 * base * (1 + bias)}
            values["shedding_cost"] = cost - values["generation_cost"] - values["storage_cost"]
            values |= {"over_generated": 0.5 + bias, "shed_above_load": 0.001, "degenerate": 0.0, "clipped": 0.01}
            values |= {"distance_to_retrained": 0.0 if name == "retrained" else 0.1, "seconds": 0.5}
            for metric, value in values.items():
                self.table.add(metric, value, UNITS.get(metric, "money/h"), split="test", **columns, **same)
            self.table.add("cost", cost, "money/h", split="validation", **columns, **same)
            if name in TUNINGS:
                own = {**columns, **same, "split": "remaining"}
                for metric, value in _parameters(name).items():
                    self.table.add(metric, value, **own)
                self.table.add("left_out_before", base, "money/h", **own)
                self.table.add("left_out_after", cost, "money/h", **own)
                self.table.add("chosen", float(name == "head"), **{**own, "split": "validation"})

    def priced(self, part: str, ratio: float, target: Mapping[str, float], weight: float = 0.0, **cell: object) -> None:
        """Costs alone, at a ratio of prices: `weight` of the way to the relative cost `target`, which is weighted."""
        for name, columns, (relative, mape, *_) in self.methods("linear"):
            value = self.level * ((1 - weight) * relative + target.get(name, weight))
            same = {"part": part, "price_ratio": ratio, "split": "test", **columns, **cell}
            self.table.add("cost", value, "money/h", **same)
            self.table.add("mape", mape, "percent", **same)

    def front(self, **cell: object) -> None:
        """Scale and head for sums of cost and MSE."""
        for method, ends in (("scale", (0.80, 12.0)), ("head", (0.76, 16.0))):
            for share, weight in zip(np.linspace(0, 1, 6), (0, 1e3, 1e4, 1e5, 1e6, 1e7), strict=True):
                columns = {"method": method, "criterion": f"1*cost+{weight:g}*mse", "mse_weight": weight}
                same = {"part": "front", "split": "test", "price_ratio": 5.0, **columns, **cell}
                self.table.add("cost", self.level * (ends[0] + (1 - ends[0]) * share**2), "money/h", **same)
                self.table.add("mape", ends[1] + (9.0 - ends[1]) * share, "percent", **same)

    def steps(self, above: float, **cell: object) -> None:
        """Frank-Wolfe and single steps by λ₁."""
        for budget in (0.025, 0.1, 0.25):
            same = {"part": "steps", "split": "remaining", "l1_budget": budget, **cell}
            single = 1 - 0.4 * budget
            values = {"weights": single - 0.01 + above, "single_step": single, "reweighted": single + 0.002}
            for method, value in values.items():
                self.table.add("cost", self.level * value, "money/h", method=method, criterion="cost", **same)
            self.table.add("frank_wolfe_gap", 0.05, "money/h", method="weights", criterion="cost", **same)
        self.table.add("cost", self.level, "money/h", method="retrained", **{**same, "l1_budget": None})

    def audit(
        self, leaks: Mapping[str, float], bit_leaks: Mapping[str, float], forecaster: str, **cell: object
    ) -> None:
        """Attacks on the audited methods."""
        for name, columns, _ in self.methods(forecaster):
            if name in UNAUDITED and name not in leaks:
                continue
            same = {"part": "audit", "forecaster": forecaster, **columns, **cell}
            for attack, share in (("parameters", 1.0), ("loss", 0.3), ("likelihood_ratio", 0.5), ("bits", 1.0)):
                found = bit_leaks if attack == "bits" else leaks
                auc = 0.5 + share * (found.get(name, 0.5) - 0.5)
                ends = {"low": max(auc - 0.09, 0.0), "high": min(auc + 0.09, 1.0)}
                self.table.add("auc", auc, attack=attack, **ends, **same)
            self.table.add("distance_in_out", 0.1 if name in leaks else 0.0, **same)
            self.table.add("bits_differ", 1.0 if name in bit_leaks else 0.0, "share", **same)


def _parameters(name: str) -> dict[str, float]:
    own = {
        "scale": {"k": 1.06},
        "affine": {"mu": 1e3, "gradient_norm": 1e-6},
        "quantile": {"tau": 0.75, "variant_total": 1.0, "duality_gap": 1e-9},
        "weights": {"l1_budget_chosen": 0.25, "frank_wolfe_gap": 0.05},
        "head": {"mu": 0.0, "gradient_norm": 1e-3},
    }
    return {**own[name], "steps": 12.0}
