"""The paper's figures and its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from unlearn.errors import InputError
from unlearn.reporting.figure import legend_beside, line, panels, reference, save_figure, styled
from unlearn.reporting.page import fill
from unlearn.reporting.style import (
    BLUE,
    CRITERIA,
    CRITERION_COLOURS,
    CRITERION_NAMES,
    FORECASTER_NAMES,
    METRIC_LABELS,
    ORANGE,
    PURPLE,
    SPLIT_COLOURS,
    protocols_of,
)
from unlearn.reporting.verdict import Block, Spread, select
from unlearn.studies.paper.verdict import RUN, is_spread, page, runs_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Name of a figure's file without the protocol, its caption, itself.
Drawn = tuple[str, str, "Figure"]
#: Number of the paper's figure per network.
NETWORK_FIGURES = {"cnn": 8, "mixer": 9}
_ROW = [list(CRITERIA)]


def save(records: pd.DataFrame, folder: Path, samples: pd.DataFrame | None = None) -> list[tuple[str, str, Path]]:
    """Draw and save all figures as PNG and PDF; return name, caption and PNG of each."""
    return [
        (name, caption, save_figure(figure, folder / name, records))
        for name, caption, figure in figures(records, samples)
    ]


def write_page(
    records: pd.DataFrame,
    figures: Sequence[tuple[str, str, Path]],
    path: Path,
    published: Mapping[str, Any],
    card: Mapping[str, Any],
    deviations: Sequence[str],
    more: Sequence[Block] = (),
) -> Path:
    """Write the page; what it takes is described at `unlearn.studies.paper.verdict.page`."""
    return fill(page(records, figures, published, card, deviations, more), records, None, path)


@styled
def figures(records: pd.DataFrame, samples: pd.DataFrame | None = None) -> list[Drawn]:
    """Draw every figure that the records allow.

    Args:
        records: rows of the experiments completeness, tradeoff and sensitivity. Those of several seeds or years are
            drawn as means with their ranges, relative to the original model of their run.
        samples: influences per sample, with columns forecaster and protocol; not needed for several runs.

    Returns:
        Name of the file ("fig4_published"), caption, and figure.

    Raises:
        InputError: an experiment is missing; names it.
    """
    drawn = []
    for protocol in protocols_of(records):
        of = select(records, protocol=protocol)
        kinds = [kind for kind in FORECASTER_NAMES if kind in set(of["forecaster"])]
        for kind in kinds:
            own = select(of, forecaster=kind)
            if is_spread(records):
                drawn.append(_spread_figure(own, kind, protocol))
                continue
            points = pd.DataFrame() if samples is None else select(samples, protocol=protocol, forecaster=kind)
            drawn += _run_figures(own, points, kind, protocol)
        if (of["experiment"] == "derivative").any():
            drawn.append(_derivative_figure(of, kinds))
    return [(f"{name}_{protocol}", caption, figure) for protocol, (name, caption, figure) in drawn]


def _spread_figure(records: pd.DataFrame, kind: str, protocol: str) -> tuple[str, Drawn]:
    name, runs = FORECASTER_NAMES[kind], runs_of(records)
    above, below = ([f"{part} {metric}" for metric in CRITERIA] for part in ("completeness", "tradeoff"))
    figure, axes = panels([above, below], f"{name} forecaster over {runs} ({protocol} protocol)")
    draw_completeness([axes[own] for own in above], records, relative=True)
    draw_tradeoff([axes[own] for own in below], records, relative=True)
    caption = (
        f"{name}: criteria after complete unlearning (above) and with PAMU and TAMU (below), relative to the original "
        f"model of the same run; mean and range of {runs}."
    )
    return protocol, (f"spread_{kind}", caption, figure)


def _run_figures(records: pd.DataFrame, samples: pd.DataFrame, kind: str, protocol: str) -> Iterator[tuple[str, Drawn]]:
    name = FORECASTER_NAMES[kind]
    shares = select(records, experiment="tradeoff")["proportion"].dropna()
    share = f"{100 * float(shares.iloc[0]):.0f} % forgotten" if len(shares) else ""
    if kind in NETWORK_FIGURES:
        rows = [[f"{part} {metric}" for metric in CRITERIA] for part in ("completeness", "sensitivity", "tradeoff")]
        figure, axes = panels(rows, f"{name} forecaster, {share} below ({protocol} protocol)")
        above, middle, below = ([axes[own] for own in row] for row in rows)
        draw_completeness(above, records)
        draw_sensitivity(middle, records, samples)
        draw_tradeoff(below, records)
        number = NETWORK_FIGURES[kind]
        caption = f"Fig {number}. {name}: complete unlearning, sensitivity, PAMU and TAMU."
        yield protocol, (f"fig{number}", caption, figure)
        return
    figure, axes = panels(_ROW, f"Complete unlearning, linear forecaster ({protocol} protocol)")
    draw_completeness(list(axes.values()), records)
    yield protocol, ("fig4", "Fig 4. Criteria on the remain, unlearn and test rows as more is forgotten.", figure)
    figure, axes = panels(_ROW, f"Influence of remaining samples, linear forecaster ({protocol} protocol)")
    draw_sensitivity(list(axes.values()), records, samples)
    yield protocol, ("fig5", "Fig 5. Influence of each remaining sample on pairs of criteria.", figure)
    figure, axes = panels(_ROW, f"PAMU and TAMU, linear forecaster, {share} ({protocol} protocol)")
    draw_tradeoff(list(axes.values()), records)
    yield protocol, ("fig6", "Fig 6. Test criteria as remaining samples may be re-weighted.", figure)
    figure, axes = panels([["distance"]], f"Completeness against cost ({protocol})")
    draw_distance(axes["distance"], records)
    yield protocol, ("fig7", "Fig 7. TAMU's distance to the retrained model against operating cost.", figure)


def _derivative_figure(records: pd.DataFrame, kinds: Sequence[str]) -> tuple[str, Drawn]:
    protocol = str(records["protocol"].iloc[0])
    figure, axes = panels([kinds], f"TAMU by two gradients ({protocol})")
    for kind, axis in axes.items():
        looks = (
            ("tradeoff", "o-", "exact", CRITERION_COLOURS["cost"]),
            ("derivative", "s--", "cvxpylayers' default", "0.45"),
        )
        for experiment, form, name, colour in looks:
            own = _selected(records, forecaster=kind, experiment=experiment, metric="cost", criterion="cost")
            line(axis, _points(own, "l1_budget"), colour, name, form)
        axis.set(xlabel="$\\lambda_1$", ylabel=METRIC_LABELS["cost"], title=FORECASTER_NAMES[kind])
    legend_beside(axis, title="gradient")
    caption = "TAMU by the exact gradient and by cvxpylayers' default derivative in the angle form, as published."
    return protocol, ("derivative", caption, figure)


def draw_completeness(axes: Sequence[Axes], records: pd.DataFrame, relative: bool = False) -> None:
    """Each criterion against the share that is forgotten: original dotted, unlearnt solid, per split."""
    chosen = _selected(records, experiment="completeness")
    for axis, metric in zip(axes, CRITERIA, strict=True):
        for split, colour in SPLIT_COLOURS.items():
            before, after = (
                select(chosen, metric=metric, split=split, method=method) for method in ("original", "unlearnt")
            )
            line(axis, _points(after, "proportion", before if relative else None, 100), colour, split)
            if not relative:
                line(axis, _points(before, "proportion", scale=100), colour, form=":")
        _label(axis, metric, "share unlearnt [%]", relative)
    legend_beside(axes[-1], title="unlearnt" if relative else "unlearnt\n(dotted: original)", title_fontsize=8)


def draw_sensitivity(axes: Sequence[Axes], records: pd.DataFrame, samples: pd.DataFrame) -> None:
    """Influence of each drawn remaining sample on one criterion against another, with Pearson's r."""
    correlations = _selected(records, experiment="sensitivity", split="drawn").set_index("metric")["value"]
    for axis, (first, second) in zip(axes, combinations(CRITERIA, 2), strict=True):
        for over, label, colour in ((False, "under-generation", ORANGE), (True, "over-generation", BLUE)):
            own = select(samples, drawn=True, over_generated=over)
            axis.scatter(own[first], own[second], s=6, alpha=0.5, linewidths=0, color=colour, label=label)
        axis.axhline(0, color="0.6", linewidth=0.6)
        axis.axvline(0, color="0.6", linewidth=0.6)
        names = [f"influence on {METRIC_LABELS[own].replace('Operating', 'operating')}" for own in (first, second)]
        axis.set(xlabel=names[0], ylabel=names[1], title=f"r = {correlations[f'pearson_{first}_{second}']:.3f}")
        axis.ticklabel_format(scilimits=(-2, 3))
    legend_beside(axes[-1], markerscale=2)


def draw_tradeoff(axes: Sequence[Axes], records: pd.DataFrame, relative: bool = False) -> None:
    """Each criterion on the test rows against λ₁, a curve per criterion that was balanced."""
    chosen = _selected(records, experiment="tradeoff", split="test")
    for axis, metric in zip(axes, CRITERIA, strict=True):
        here = select(chosen, metric=metric)
        original = select(here, method="original") if relative else None
        for criterion, colour in CRITERION_COLOURS.items():
            name = f"{'TAMU' if criterion == 'cost' else 'PAMU'} ({CRITERION_NAMES[criterion]})"
            line(axis, _points(select(here, criterion=criterion), "l1_budget", original), colour, name)
        for method, form in () if relative else (("original", ":"), ("retrained", "--")):
            reference(axis, float(select(here, method=method)["value"].iloc[0]), method, form)
        _label(axis, metric, "$\\lambda_1$", relative)
    legend_beside(axes[-1])


def draw_distance(axis: Axes, records: pd.DataFrame) -> None:
    """Distance of TAMU's parameters to the retrained ones, and the operating cost, against λ₁."""
    tamu = _selected(records, experiment="tradeoff", criterion="cost")
    distance = _points(select(tamu, metric="distance_to_retrained_2norm"), "l1_budget")
    line(axis, distance, PURPLE, "parameter distance", "s-")
    axis.set(xlabel="$\\lambda_1$", ylabel="2-norm distance to retrained")
    right = axis.twinx()
    right.spines["right"].set_visible(True)
    right.grid(visible=False)
    line(right, _points(select(tamu, metric="cost"), "l1_budget"), CRITERION_COLOURS["cost"], "operating cost")
    right.set_ylabel(METRIC_LABELS["cost"])
    axis.legend(handles=[*axis.get_lines(), *right.get_lines()], loc="upper center")


def _points(
    rows: pd.DataFrame, by: str, original: pd.DataFrame | None = None, scale: float = 1.0
) -> dict[float, Spread]:
    """Values over runs by place, ascending; in percent of the original model's of the same run, if that is given."""
    curves = _by_run(rows, [by]).unstack(by)
    if original is not None:
        level = _by_run(original, [by]).unstack(by) if original[by].notna().all() else _by_run(original, [])
        curves = 100 * curves.div(level, axis=0)
    return {scale * float(place): Spread.of(curves[place].dropna()) for place in sorted(curves)}


def _by_run(rows: pd.DataFrame, more: list[str]) -> Any:
    own = rows.reindex(columns=[*RUN, *more, "value"])
    return own.fillna(dict.fromkeys(RUN, 0)).set_index([*RUN, *more])["value"]


def _label(axis: Axes, metric: str, place: str, relative: bool) -> None:
    label = f"{METRIC_LABELS[metric].split(' [')[0]} [% of original]" if relative else METRIC_LABELS[metric]
    axis.set(xlabel=place, ylabel=label)
    if relative:
        reference(axis, 100, form=":")


def _selected(records: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    chosen = select(records, **wanted)
    if chosen.empty:
        raise InputError(f"figure: no records with {wanted}; run that experiment first.")
    return chosen
