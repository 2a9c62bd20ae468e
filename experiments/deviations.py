"""What differs from the paper, and why; written from the configuration, for the page that `paper` makes."""

from __future__ import annotations

from experiments.app import Job
from unlearn.grid import GridCase

_SOURCES = {
    "bigdeal2022": "Data: BigDEAL Challenge 2022 (three US utilities and six temperature stations; Shukla and Hong, "
    "IET Smart Grid 7(4), 2024) instead of TX-123BT. Its only weather is temperature; the six weather features are "
    "those that were chosen on GEFCom2012. Costs and MSE are not comparable with the published ones.",
    "gefcom2012": "Data: GEFCom2012 (US zones and temperature stations; Hong, Pinson and Fan, IJF 30(2), 2014) instead "
    "of TX-123BT, which is not a download of minutes. Its only weather is temperature, so the six weather features are "
    "derived from it; they were chosen by test error on 2005 and 2006. MSE and cost levels are not comparable with "
    "the published ones, directions are. Zones that share a station repeat columns; each distinct column enters the "
    "linear model once.",
    "synthetic": "Data: the embedded synthetic source. It shows that everything runs, not what real loads would say.",
    "tx123bt": "Data: TX-123BT as in the paper; the least-correlated buses are chosen on training rows only.",
}

_GEFCOM_2007 = (
    "In 2007 the criteria of the linear model agree on the test weeks (the original forecasts fall short there, so "
    "whatever lowers the error lowers the cost): under the published protocol PAMU lowers the cost as well, where in "
    "the paper PAMU for MAPE raises it. The conflict between statistical criteria and cost that the paper reports "
    "shows under the fair protocol."
)

#: What the reader of a page is told about the gradient, by backend and, for cvxpylayers, by derivative.
_GRADIENTS = {
    "batched": "it is exact, through the active set",
    "moreau": "moreau's is used",
    "dense": "cvxpylayers' dense mode is used, which is right but for nearly degenerate hours",
    "lsqr": "that same mode is used, for comparison",
}

_ALWAYS = [
    "Features are scaled with training rows (networks: core rows) only, and targets stay in p.u.; the paper "
    "normalises them too. For least squares with an intercept that makes no difference to the forecasts but "
    "weighs the loads differently in the loss.",
    "The MLP-Mixer's published table leaves open how patches reach Linear 1; here all of them are flattened into it.",
    "The fair protocol is ours: gradient and selection on a validation slice. Under it the rows picked as most "
    "helpful for the validation weeks need not be helpful for the test weeks, so complete unlearning may even lower "
    "the test cost; the figures say so where it happens.",
    "Positive influence means that removing the sample makes the criterion worse, in every figure.",
    "Weights of the re-weighting program are computed at parameters that saw the removed rows: PAMU and TAMU "
    "results depend on those rows through the weights and are not complete forgetting.",
]


def deviations(job: Job, case: GridCase) -> list[str]:
    """Sentences for the configuration at hand, the data first."""
    return [
        _SOURCES.get(job.data.name, f"Data: your own ({job.data.name}) instead of TX-123BT."),
        *([_GEFCOM_2007] if getattr(job.data, "year", None) == 2007 and job.data.name == "gefcom2012" else []),
        *_evaluation(job),
        *_grid(job, case),
        *_core(job),
        *_patience(job),
        *_ALWAYS,
    ]


def _evaluation(job: Job) -> list[str]:
    hours = job.evaluation.hours
    return [f"Only {hours} evenly spaced hours per split are priced, the same for all methods."] if hours else []


def _grid(job: Job, case: GridCase) -> list[str]:
    shedding, storage = case.shedding_cost, case.storage_cost
    used = job.grid.derivative if job.grid.backend == "cvxpylayers" else job.grid.backend
    said = [
        "Costs: the published second-order costs of shedding and storage are not known; shedding costs "
        f"{shedding[0]:g} s² + {shedding[1]:g} s and storage {storage[0]:g} g² + {storage[1]:g} g per unit here.",
        "Derivative: the published code differentiates with cvxpylayers' default mode, whose gradient of this cost is "
        f"wrong by tens of percent against finite differences. Here {_GRADIENTS[used]}.",
    ]
    if job.grid.bounds != "published":
        said.append("Shedding is bounded by the load of its bus; the published programs leave it unbounded.")
    return said


def _core(job: Job) -> list[str]:
    share = f"{100 * job.split.core:g} %"
    if job.split.core_choice == "first":
        return [
            f"The core is the first {share} of the training rows, as in the paper's text; its code drew it at random."
        ]
    return [
        f"The core ({share} of the training rows) is drawn at random (seed {job.split.random_state}) as in the "
        "published code; the paper's text takes the first rows (split.core_choice=first)."
    ]


def _patience(job: Job) -> list[str]:
    found = {own.training.patience for own in job.forecaster.values() if not own.exact}
    waits = " or ".join(map(str, sorted(found)))
    return [f"Early stopping waits {waits} epochs; the paper gives no number."] if found else []
