"""What differs from the paper, and why; printed on the page that `paper` writes."""

from __future__ import annotations

from experiments.schema import Config

_ALWAYS = [
    "Costs: the published second-order costs of shedding and storage are not known; they are set equal to the "
    "first-order ones (3,500 and 700 per unit), which keeps shedding far dearer than storage.",
    "Derivative: the published code differentiates with cvxpylayers' default mode, whose gradient of this cost is "
    "wrong by tens of percent against finite differences. Here it is exact, through the active set of each hour.",
    "Features are scaled with training rows (networks: core rows) only, and targets stay in p.u.; the paper "
    "normalises them too. For least squares with an intercept that makes no difference to the forecasts but "
    "weighs the loads differently in the loss.",
    "The core (30 % of the training rows) is drawn at random as in the published code (split.core_choice=first is "
    "the paper's text), with split.seed.",
    "The MLP-Mixer's published table leaves open how patches reach Linear 1; here all of them are flattened into it. "
    "Early stopping waits 20 epochs; the paper gives no number.",
    "The fair protocol (70/10/20, gradient and selection on the validation slice) is ours. Under it the rows picked as "
    "most helpful for the validation weeks need not be helpful for the test weeks, so complete unlearning may "
    "even lower the test cost; the figures say so where it happens.",
    "Positive influence means that removing the sample makes the criterion worse, in every figure.",
    "Weights of the re-weighting program are computed at parameters that saw the removed rows: PAMU and TAMU "
    "results depend on those rows through the weights and are not complete forgetting.",
]

_SOURCES = {
    "gefcom2012": "Data: GEFCom2012 (14 clean zones, 20 US zones and 11 temperature stations; Hong, Pinson and Fan, "
    "IJF 30(2), 2014) instead of TX-123BT, which is not a download of minutes. Its only weather is "
    "temperature, so the six weather features are derived from it; the features were chosen by test error on 2005 "
    "and 2006. MSE and cost levels are not comparable with the published ones, directions are. Zones that share a "
    "station repeat columns; each distinct column enters the linear model once. In 2007 the criteria of the linear "
    "model agree on the test weeks (the original forecasts fall short there, so whatever lowers the error lowers "
    "the cost): under the published protocol PAMU lowers the cost as well, where in the paper PAMU for MAPE raises it. "
    "The conflict between statistical criteria and cost that the paper reports shows under the fair protocol.",
    "synthetic": "Data: the embedded synthetic source. It shows that everything runs, not what real loads would say.",
    "tx123bt": "Data: TX-123BT as in the paper; 14 least-correlated buses are chosen on training rows only.",
}


def deviations(config: Config) -> list[str]:
    """Sentences for the configuration at hand, the data first."""
    source = _SOURCES.get(config.data.source, f"Data: your own ({config.data.source}) instead of TX-123BT.")
    sampled = (
        [f"Only {config.evaluation.hours} evenly spaced hours per split are priced, the same for all methods."]
        if config.evaluation.hours
        else []
    )
    return [source, *sampled, *_ALWAYS]
