"""Figures 4 to 9 of the paper from records alone, for every forecaster and protocol there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from unlearn.reporting.labels import FORECASTER_NAMES, protocols_of
from unlearn.reporting.panels import draw_completeness, draw_derivative, draw_distance, draw_sensitivity, draw_tradeoff
from unlearn.reporting.style import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Number of the paper's figure per network.
NETWORK_FIGURES = {"cnn": 8, "mixer": 9}


def paper_figures(records: pd.DataFrame, samples: pd.DataFrame) -> Iterator[tuple[str, str, Figure]]:
    """Draw every figure that the records allow.

    Args:
        records: rows of the experiments completeness, tradeoff and sensitivity.
        samples: influences per sample, with columns forecaster and protocol.

    Yields:
        Name of the file ("fig4_published"), caption, and figure.
    """
    for protocol in protocols_of(records):
        for forecaster in FORECASTER_NAMES:
            own = records[(records["protocol"] == protocol) & (records["forecaster"] == forecaster)]
            points = samples[(samples["protocol"] == protocol) & (samples["forecaster"] == forecaster)]
            if own.empty:
                continue
            if forecaster == "linear":
                yield from _linear_figures(own, points, protocol)
            else:
                yield _network_figure(own, points, protocol, forecaster)
        if (records.loc[records["protocol"] == protocol, "experiment"] == "derivative").any():
            yield _derivative_figure(records[records["protocol"] == protocol], protocol)


def save_all(records: pd.DataFrame, samples: pd.DataFrame, folder: Path) -> list[tuple[str, str, Path]]:
    """Draw and save all figures as PNG and PDF; return name, caption and PNG of each."""
    saved = []
    for name, caption, figure in paper_figures(records, samples):
        png, _ = save_figure(figure, folder / name, records)
        saved.append((name, caption, png))
    return saved


def _linear_figures(records: pd.DataFrame, samples: pd.DataFrame, protocol: str) -> Iterator[tuple[str, str, Figure]]:
    share = _share(records)
    figure, axes = new_figure(1, 3, f"Complete unlearning, linear forecaster ({protocol} protocol)")
    draw_completeness(axes[0], records)
    yield f"fig4_{protocol}", "Fig 4. Criteria on the remain, unlearn and test rows as more is forgotten.", figure
    figure, axes = new_figure(1, 3, f"Influence of remaining samples, linear forecaster ({protocol} protocol)")
    draw_sensitivity(axes[0], records, samples)
    yield f"fig5_{protocol}", "Fig 5. Influence of each remaining sample on pairs of criteria.", figure
    figure, axes = new_figure(1, 3, f"PAMU and TAMU, linear forecaster, {share} forgotten ({protocol} protocol)")
    draw_tradeoff(axes[0], records)
    yield f"fig6_{protocol}", "Fig 6. Test criteria as remaining samples may be re-weighted.", figure
    figure, axes = new_figure(1, 1, f"Completeness against cost ({protocol})")
    draw_distance(axes[0][0], records)
    yield f"fig7_{protocol}", "Fig 7. TAMU's distance to the retrained model against operating cost.", figure


def _network_figure(
    records: pd.DataFrame, samples: pd.DataFrame, protocol: str, forecaster: str
) -> tuple[str, str, Figure]:
    name = FORECASTER_NAMES[forecaster]
    figure, axes = new_figure(3, 3, f"{name} forecaster, {_share(records)} forgotten below ({protocol} protocol)")
    draw_completeness(axes[0], records)
    draw_sensitivity(axes[1], records, samples)
    draw_tradeoff(axes[2], records)
    number = NETWORK_FIGURES[forecaster]
    caption = f"Fig {number}. {name}: complete unlearning, sensitivity, PAMU and TAMU."
    return f"fig{number}_{protocol}", caption, figure


def _derivative_figure(records: pd.DataFrame, protocol: str) -> tuple[str, str, Figure]:
    kinds = [kind for kind in FORECASTER_NAMES if kind in set(records["forecaster"])]
    figure, axes = new_figure(1, len(kinds), f"TAMU by two gradients ({protocol})")
    for axis, kind in zip(axes[0], kinds, strict=True):
        draw_derivative(axis, records[records["forecaster"] == kind])
        axis.set_title(FORECASTER_NAMES[kind])
    axes[0][-1].legend(title="gradient", loc="upper left", bbox_to_anchor=(1.02, 1.0))
    caption = "TAMU by the exact gradient and by cvxpylayers' default derivative in the angle form, as published."
    return f"derivative_{protocol}", caption, figure


def _share(records: pd.DataFrame) -> str:
    share = records.loc[records["experiment"] == "tradeoff", "proportion"].dropna()
    return f"{100 * float(share.iloc[0]):.0f} %" if len(share) else ""
