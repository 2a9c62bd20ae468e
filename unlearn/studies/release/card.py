"""A generator's card in a page: its settings as rows, its training as a small figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearn.reporting.labels import RELEASE_COLOURS
from unlearn.reporting.style import new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Entries of a card that a figure shows, and long ones that say nothing to a reader.
_CURVES = ("train", "validation", "log_posterior")


def settings_rows(card: Mapping[str, Any], prefix: str = "") -> list[dict[str, str]]:
    """Settings by their path, such as `options.vae.latent`; curves are left to the figure."""
    rows = []
    for name, value in card.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            rows += settings_rows(value, f"{path}.")
        elif name not in _CURVES or not isinstance(value, list):
            rows.append({"setting": path, "value": _said(value)})
    return rows


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)


def training_figure(card: Mapping[str, Any]) -> Figure | None:
    """Loss per epoch (`training`) and log posterior per pass of EM (`mixture`), as far as the card has them."""
    losses = {name: card.get("training", {}).get(name) for name in ("train", "validation")}
    posterior = card.get("mixture", {}).get("log_posterior")
    n_panels = any(losses.values()) + bool(posterior)
    if not n_panels:
        return None
    figure, [axes] = new_figure(1, n_panels, "")
    if any(losses.values()):
        draw_losses(axes[0], losses, card["training"].get("best_epoch"))
    if posterior:
        draw_posterior(axes[-1], posterior)
    return figure


@styled
def draw_losses(axis: Axes, losses: Mapping[str, list[float] | None], best_epoch: int | None) -> None:
    """Loss on training and watched profiles by epoch; a line where validation was best."""
    for (name, values), colour in zip(losses.items(), RELEASE_COLOURS, strict=False):
        if values:
            axis.plot(range(1, len(values) + 1), values, color=colour, label=name)
    if best_epoch is not None:
        axis.axvline(best_epoch + 1, color="0.4", linewidth=1, linestyle=":", label="kept")
    axis.set(xlabel="epoch", ylabel="loss")
    axis.legend()
    axis.set_title("network")


@styled
def draw_posterior(axis: Axes, values: list[float]) -> None:
    """Mean log posterior of the mixture by pass over the profiles."""
    axis.plot(range(1, len(values) + 1), values, "o-", color=RELEASE_COLOURS[0], markersize=3)
    axis.set(xlabel="pass of EM", ylabel="log posterior per profile")
    axis.set_title("mixture")
