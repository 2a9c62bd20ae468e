"""The figure and the page of the full-network study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from unlearn.reporting.figure import bars, legend_below, line, panels, reference, saver, styled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import BLUE, FORECASTER_NAMES, GREEN, GREY, ORANGE, PURPLE
from unlearn.reporting.verdict import Spread, seeds_of, select
from unlearn.studies.full_network.verdict import METHOD_NAMES, at_chosen_condition, noise_share, page, steps_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHOD_COLOURS = {"head": GREEN, "gauss_newton": BLUE, "hessian": PURPLE, "other seeds": "0.6"}
#: Bars: metric, use, truth of the network, label.
SCORES = (
    ("spearman", "single", "scratch", "single\nrows"),
    ("spearman", "group", "scratch", "groups"),
    ("spearman", "group", "warm", "groups,\nwarm"),
    ("lds", "subset", "scratch", "halves\n(LDS)"),
)
#: Shares of the distance below this are drawn here: they are 0 but for rounding.
SMALLEST_SHARE = 0.05
#: Curves that end above this share stand apart and are labelled with their condition.
FAR = 1.2


@styled
def figure(records: pd.DataFrame) -> Figure:
    """Draw predicted against true changes, their correlations, and the distance that Newton steps leave."""
    own = at_chosen_condition(records)
    name = FORECASTER_NAMES[str(own["forecaster"].iloc[0])]
    title = f"Leaving rows out of a whole {name} and of its head alone ({seeds_of(own)})"
    drawn, axes = panels([["head", "network"], ["scores", "left"]], title)
    draw_changes(axes["head"], own, "head", "exact")
    draw_changes(axes["network"], own, "gauss_newton", "scratch")
    draw_scores(axes["scores"], own)
    draw_left(axes["left"], records)
    return drawn


save = saver(figure)
write_page = page_writer(page)


def draw_changes(axis: Axes, records: pd.DataFrame, method: str, truth: str) -> None:
    """Predicted change of the test MSE of each group against the true one; the band is the noise floor."""
    keys = ["seed", "group"]
    groups = select(records, use="group")
    true = 1e3 * select(groups, metric="true_change", truth=truth).set_index(keys)["value"]
    predicted = select(groups, metric="predicted_change", method=method)
    for predictor, marker, label, colour in (
        ("influence", "o", "influence", ORANGE),
        ("newton", "x", "Newton step", METHOD_COLOURS[method]),
    ):
        values = 1e3 * select(predicted, predictor=predictor).set_index(keys)["value"]
        both = pd.concat([true, values], axis=1, join="inner").to_numpy().T
        axis.scatter(both[0], both[1], s=12, marker=marker, linewidths=0.8, alpha=0.7, color=colour, label=label)
    ends = [min(true.min(), 0.0), max(true.max(), 0.0)]
    axis.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--", label="exact")
    axis.legend(loc="upper left")
    noise = select(records, use="noise", selection="order", metric="true_change")["value"]
    if truth == "scratch" and len(noise):
        spread = 1e3 * float(np.sqrt((noise**2).mean()))
        band = axis.axvspan(-spread, spread, color="0.5", alpha=0.15, linewidth=0, label="another batch order")
        axis.legend(handles=[band], loc="upper left")  # the other marks mean the same as in the panel to the left
    unit = "[10$^{-3}$ p.u.$^2$]"
    axis.set(xlabel=f"true change of the test MSE {unit}", ylabel=f"predicted {unit}")
    axis.set_title("head alone" if method == "head" else f"whole network, {METHOD_NAMES[method]}")


def draw_scores(axis: Axes, records: pd.DataFrame) -> None:
    """Correlation of influence with refits: mean over seeds, and the range over seeds."""
    own = select(records, over="seed", predictor=["influence", "refit"])
    series = {}
    for method, name in METHOD_NAMES.items():
        truths = ["exact" if method == "head" else truth for _, _, truth, _ in SCORES]
        found = [
            select(own, metric=metric, use=use, method=method, truth=truth)["value"]
            for (metric, use, _, _), truth in zip(SCORES, truths, strict=True)
        ]
        series[name] = [Spread.of(values) if len(values) else None for values in found]
    colours = {name: METHOD_COLOURS[method] for method, name in METHOD_NAMES.items()}
    bars(axis, [label for *_, label in SCORES], series, colours)
    reference(axis, 0, form="-")
    axis.set(ylabel="rank correlation of\ninfluence with refits", ylim=(None, 1.05))
    legend_below(axis)


def draw_left(axis: Axes, records: pd.DataFrame) -> None:
    """Share of the distance to the refit that a Newton step leaves, by the share of rows: median and quartiles.

    Chosen conditions are solid (refits from scratch) and dashed (warm ones), the others dotted.
    """
    chosen = at_chosen_condition(records)
    other = records.drop(chosen.index)
    for method, truth in (("head", "exact"), ("gauss_newton", "scratch"), ("hessian", "scratch")):
        points = _left(chosen, method, truth)
        most = max((own.mean for own in points.values()), default=1.0)
        label = METHOD_NAMES[method] + (f": {most:.0e}" if most < SMALLEST_SHARE else "")
        shown = {
            place: Spread.at(*(max(end, SMALLEST_SHARE) for end in (own.mean, own.low, own.high)))
            for place, own in points.items()
        }
        line(axis, shown, METHOD_COLOURS[method], label, markersize=3)
    for method in ("gauss_newton", "hessian"):
        colour, name = METHOD_COLOURS[method], METHOD_NAMES[method]
        _median(axis, _left(chosen, method, "warm"), "s--", color=colour, label=f"{name}, warm", markersize=3)
        conditions = sorted(select(other, method=method)["condition"].dropna().unique())
        for number, condition in enumerate(conditions):
            points = _left(select(other, condition=condition), method, "scratch")
            label = "" if number else f"{name}, other $\\kappa$"
            _median(axis, points, ":", color=colour, label=label or None, linewidth=1)
            place, last = list(points.items())[-1]
            if last.mean > FAR:
                axis.text(place, last.mean, f" $10^{{{np.log10(condition):.0f}}}$", va="center")
    floor = noise_share(records)
    axis.plot(100 * floor.index, floor, "-", color="0.6", label="another batch order", linewidth=1)
    reference(axis, 1, form="-")
    axis.set(
        xlabel="share of rows left out [%]", ylabel="share of the distance to the\nrefit that is left", yscale="log"
    )
    legend_below(axis)


def _left(records: pd.DataFrame, method: str, truth: str) -> dict[float, Spread]:
    """Median and quartiles of the shares that are left, by the share of rows."""
    by_share = steps_of(records, method, truth).groupby("proportion")["value"]
    return {100 * float(str(share)): Spread.at(own.median(), *own.quantile([0.25, 0.75])) for share, own in by_share}


def _median(axis: Axes, points: dict[float, Spread], form: str, **look: Any) -> None:
    axis.plot(list(points), [own.mean for own in points.values()], form, **look)
