"""What forgetting did: the new model, how far it is from the old one, and what it does not cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from unlearn.checks import FloatArray, IntArray
from unlearn.data.hours import hour_ranges
from unlearn.forecasters import Forecaster
from unlearn.unlearning.limitations import OLD_MODEL, kept_constants, what_happened
from unlearn.unlearning.newton import relative_distance
from unlearn.unlearning.request import Request
from unlearn.unlearning.steps import Step


@dataclass(frozen=True, eq=False)
class Forgotten:
    """What `forget`, `forget_rows` or `reweight` did.

    Attributes:
        model: the unlearnt forecaster.
        unlearn_rows: rows of the data set that were forgotten.
        not_forgotten: rows of the data set that were asked for and stay, because only the frozen extractor was
            trained on them.
        hours: first and last hour of each run of forgotten rows, as ISO text.
        weights: weight of each of the head's n training rows (`model.training_rows(dataset)`), 0 where removed,
            shape (n,); with `loads` those of the first load named (`model.weights` holds all, one column per output).
        distance_to_original: `‖θ − θ*‖ / ‖θ*‖`.
        distance_to_retrained: `‖θ − θ_R‖ / ‖θ_R‖`, if asked for.
        criterion: name of the criterion that weights were chosen by; None for complete unlearning.
        complete: True if the result is the model retrained on what remains, up to rounding, and nothing else of the
            model learnt from what was asked for.
        complete_as_given: True if it is, provided that data which the caller gave (`forget_rows`) is what the model
            was fitted on; the model cannot check that. `forget`, given the data set, checks it at its next step.
        statistics: solver, residual, condition number, steps.
        seconds: wall time by stage.
        limitations: what still depends on the removed rows, in sentences; read this before you
            certify a deletion.
    """

    model: Forecaster
    unlearn_rows: IntArray
    not_forgotten: IntArray
    hours: list[list[str]]
    weights: FloatArray
    distance_to_original: float
    distance_to_retrained: float | None
    criterion: str | None
    complete: bool
    complete_as_given: bool
    statistics: dict[str, float | str]
    seconds: dict[str, float]
    limitations: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        kind = "complete" if self.complete else "complete as given" if self.complete_as_given else "not complete"
        by = "" if self.criterion is None else f", re-weighted by {self.criterion}"
        left = f", rows not forgotten: {len(self.not_forgotten)}" if len(self.not_forgotten) else ""
        return f"Forgotten({type(self.model).__name__}, rows removed: {len(self.unlearn_rows)}{left}, {kind}{by})"


def concluded(
    model: Forecaster,
    request: Request,
    step: Step,
    loads: Sequence[str] | None,
    said: list[str],
    seconds: dict[str, float],
    given: Sequence[str] = (),
    criterion: str | None = None,
    l1_budget: float = 0.0,
    distance_to_retrained: float | None = None,
    further: Sequence[str] = (),
) -> Forgotten:
    """The result of a step.

    `said` is why it is incomplete, nothing if it is not; `given` what had to be taken as the caller gave it; `further`
    what else is to be said.
    """
    hours = hour_ranges(request.timestamps, request.unlearn)
    verdict = {"complete": not said and not given, "complete_as_given": not said}
    forgotten = request.forgotten(model)
    event = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": len(request.unlearn),
        "hours": hours,
        "not_forgotten": hour_ranges(request.timestamps, request.frozen),
        "loads": None if loads is None else list(loads),
        "criterion": criterion,
        "l1_budget": float(l1_budget),
        "switched_off": int(((step.weights == 0) & ~forgotten).any(dim=1).sum()),
        **verdict,
    }
    return Forgotten(
        model=model.with_theta(step.theta, step.weights, event, step.sums, forgotten),
        unlearn_rows=request.unlearn,
        not_forgotten=request.frozen,
        hours=hours,
        weights=step.weights[:, request.outputs[0]].numpy(),
        distance_to_original=relative_distance(step.theta, model.theta),
        distance_to_retrained=distance_to_retrained,
        criterion=criterion,
        **verdict,
        statistics=step.statistics,
        seconds=seconds,
        limitations=[*kept_constants(model), *what_happened(model, request), *said, *given, OLD_MODEL, *further],
    )
