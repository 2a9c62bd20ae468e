"""The pilot: a classifier of vehicle owners across utilities, alone, pooled, federated, and private.

`measure_adoption(data, options, seed)` gives tidy rows: a row for each method, whom it was trained on and whom it was
tested on. Households that are held out count; the area under the ROC curve (AUC) needs no threshold, balanced accuracy
takes the public rate of owners as one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from unlearn.checks import FloatArray, require_each_once, require_not_negative, require_positive
from unlearn.dp.ledger import default_delta, require_guarantee
from unlearn.dp.noise import Noise, noise_source
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.adoption import FEATURES, PUBLIC_SCALING, AdoptionData
from unlearn.privacy.federated.averaging import AveragingOptions, federated_average
from unlearn.privacy.federated.channel import LocalChannel
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.logistic import LogisticLearner, Scaling, design
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.federated.noise import FederatedBudget, SharedNoise
from unlearn.privacy.federated.party import Party
from unlearn.privacy.federated.private import PrivateContribution, PrivateDescent, private_summand
from unlearn.privacy.federated.private_classifiers import PrivateWay, by_descent, by_squares
from unlearn.privacy.federated.sum_protocol import MASKED
from unlearn.privacy.federated.summands import summand
from unlearn.privacy.federated.summing import secure_sum
from unlearn.privacy.federated.training import trainer

_LOG = logging.getLogger(__name__)

#: Columns of `measure_adoption`.
COLUMNS = (
    "method", "epsilon", "spent", "delta", "trained_on", "tested_on", "seed", "auc", "balanced_accuracy", "n_train",
    "n_test", "rounds", "n_bytes", "seconds", "simulated",
)  # fmt: skip

#: Federated averaging as gradient descent on the rows of all, which comes to what pooled training comes to.
AVERAGING = AveragingOptions(
    rounds=60, batch_size=0, learning_rate=2.0, optimiser="sgd", schedule="constant", keep_states=False
)

#: Single features that are compared as baselines.
SINGLE = ("night share", "high hours")

_MOMENTS = "adoption/moments"


@dataclass(frozen=True)
class AdoptionOptions:
    """Settings of the comparison.

    Attributes:
        epsilons: ε of the private classifiers, for each household; each is a training of its own.
        delta: δ; None means a tenth of what one household in full would need, `default_delta`.
        least_members: fewest utilities that a private round may end with; None means all but one, and a majority.
        colluding: utilities who may tell the coordinator their shares of the noise.
        dropping: chance of a utility to vanish in the middle of a private round.
        averaging: settings of federated averaging.
        descent: settings of private gradient descent.
        radius: norm that a household's standardised row is clipped to in private least squares.
        penalty: of the squared norm, in all logistic regressions but the private one, whose own is in `descent`.
    """

    epsilons: tuple[float, ...] = (1.0, 3.0, 8.0)
    delta: float | None = None
    least_members: int | None = None
    colluding: int = 0
    dropping: float = 0.0
    averaging: AveragingOptions = field(default_factory=lambda: AVERAGING)
    descent: PrivateDescent = field(default_factory=PrivateDescent)
    radius: float = 2.5
    penalty: float = 1e-2

    def __post_init__(self) -> None:
        require_each_once("epsilons", self.epsilons, some=False)
        for epsilon in self.epsilons:
            require_positive("epsilons", epsilon)
        require_positive("radius", self.radius)
        require_positive("penalty", self.penalty)
        if require_not_negative("dropping", self.dropping) >= 1:
            raise InputError(f"dropping: expected a chance below 1, got {self.dropping:g}.")


class Scorer(NamedTuple):
    """A classifier.

    Attributes:
        score: features (n, F) -> scores (n,), the higher the likelier an owner.
        cut: score from which on a household counts as an owner.
    """

    score: Callable[[FloatArray], FloatArray]
    cut: float


def measure_adoption(
    data: AdoptionData, options: AdoptionOptions | None = None, seed: int = 0, noise: Noise = "os"
) -> pd.DataFrame:
    """Compare classifiers of vehicle owners on households that are held out.

    Methods: a single feature ("night share", "high hours"); each utility "alone"; "pooled" logistic regression; the
    same by "federated averaging"; "least squares" on labels by one exact secure sum; and for each ε "private descent"
    and "private least squares", whose noise utilities share. Non-private methods standardise by federated sums,
    private ones by `PUBLIC_SCALING`.

    >>> from unlearn.households import hourly_meters, simulate_households
    >>> from unlearn.privacy.federated.adoption import adoption_data
    >>> meters = hourly_meters(simulate_households(90, n_days=14, ev_share=0))
    >>> rows = measure_adoption(adoption_data(meters, {"a": 0.3, "b": 0.3, "c": 0.4}), AdoptionOptions(epsilons=()))
    >>> sorted(set(rows.method))[:4]
    ['alone', 'federated averaging', 'high hours', 'least squares']
    >>> rows[(rows.method == "pooled") & (rows.tested_on == "all")].auc.item() > 0.7
    True

    Args:
        data: households of several utilities; see `adoption_data`.
        options: settings.
        seed: of drop-outs and batch orders; never of noise.
        noise: "os", or `SimulatedNoise(seed)` for households that are simulated throughout.

    Returns:
        Columns `COLUMNS`. `epsilon` is what was promised and `spent` what was spent given who took part, both NaN
        without privacy. Where too few utilities stayed for any round, `auc` and `balanced_accuracy` are NaN.
        `tested_on` is "all" or a utility, and `trained_on` too.

    Raises:
        InputError: noise from a seed on data that may be real, or settings that do not fit the number of utilities.
    """
    options = options or AdoptionOptions()
    pilot = _Pilot(data, options, seed, noise)
    rows = [row for method in (_single, _alone, _pooled, _federated, _private) for row in method(pilot)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


class _Pilot:
    """Utilities of the pilot, who they are, and how their classifiers are tested."""

    def __init__(self, data: AdoptionData, options: AdoptionOptions, seed: int, noise: Noise) -> None:
        self.data, self.options, self.seed = data, options, seed
        self.source = noise_source(noise, data)
        self.n_train = int((~data.test).sum())
        self.delta = default_delta(self.n_train) if options.delta is None else options.delta
        for epsilon in options.epsilons:
            require_guarantee(epsilon, self.delta, self.n_train)
        self.rate = float(np.average(data.rates, weights=np.bincount(data.utility)))
        self.identities = {name: Identity.new() for name in data.utilities}
        self.roster = Roster({name: own.public for name, own in self.identities.items()})

    @property
    def least_members(self) -> int:
        n = len(self.data.utilities)
        return max(n - 1, n // 2 + 1) if self.options.least_members is None else self.options.least_members

    def rows(self, method: str, scorer: Scorer | None, trained_on: str = "all", **found: Any) -> list[dict[str, Any]]:
        """Test one classifier on all households that are held out, and on each utility's; NaN where there is none."""
        from sklearn.metrics import balanced_accuracy_score, roc_auc_score

        told = {"epsilon": np.nan, "spent": np.nan, "delta": np.nan, "rounds": 0, "n_bytes": 0, "seconds": 0.0} | found
        made = []
        for tested_on in ("all", *self.data.utilities):
            features, owns = self.data.held_out(None if tested_on == "all" else tested_on)
            auc = balanced = np.nan
            if scorer is not None:
                score = scorer.score(features)
                auc = float(roc_auc_score(owns, score))
                balanced = float(balanced_accuracy_score(owns, score > scorer.cut))
            made.append(
                {
                    "method": method,
                    "trained_on": trained_on,
                    "tested_on": tested_on,
                    "seed": self.seed,
                    "auc": auc,
                    "balanced_accuracy": balanced,
                    "n_train": len(self.data.training(None if trained_on == "all" else trained_on)[1]),
                    "n_test": len(owns),
                    "simulated": self.data.simulated,
                    **told,
                }
            )
        return made

    def learner(self, utility: str | None, scaling: Scaling) -> LogisticLearner:
        features, owns = self.data.training(utility)
        return LogisticLearner(design(features, scaling), owns, self.options.penalty)


def _single(pilot: _Pilot) -> list[dict[str, Any]]:
    features, _ = pilot.data.training()
    made = []
    for name in SINGLE:
        column = FEATURES.index(name)
        cut = float(np.quantile(features[:, column], 1 - pilot.rate))
        made += pilot.rows(name, Scorer(lambda rows, column=column: rows[:, column], cut))  # type: ignore[misc]
    return made


def _alone(pilot: _Pilot) -> list[dict[str, Any]]:
    made = []
    for name, rate in zip(pilot.data.utilities, pilot.data.rates, strict=True):
        begin = time.perf_counter()
        scorer = _by_newton(pilot, name, rate)
        made += pilot.rows("alone", scorer, name, seconds=time.perf_counter() - begin)
    return made


def _pooled(pilot: _Pilot) -> list[dict[str, Any]]:
    begin = time.perf_counter()
    scorer = _by_newton(pilot, None, pilot.rate)
    return pilot.rows("pooled", scorer, seconds=time.perf_counter() - begin)


def _by_newton(pilot: _Pilot, utility: str | None, rate: float) -> Scorer:
    """Logistic regression on the rows of one utility, or of all, to convergence."""
    from sklearn.linear_model import LogisticRegression

    features, owns = pilot.data.training(utility)
    scaling = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    fitted = LogisticRegression(C=1 / (pilot.options.penalty * len(owns)), tol=1e-10, max_iter=1000)
    fitted.fit(design(features, scaling)[:, 1:], owns)
    return _linear(np.concatenate([fitted.intercept_, fitted.coef_[0]]), scaling, rate)


def _linear(
    coefficients: FloatArray, scaling: Scaling, rate: float, link: Callable[[FloatArray], FloatArray] = expit
) -> Scorer:
    return Scorer(lambda rows: link(design(rows, scaling) @ coefficients), rate)


def _federated(pilot: _Pilot) -> list[dict[str, Any]]:
    """Least squares from one secure sum, which also gives the scaling, and federated averaging."""
    begin, data = time.perf_counter(), pilot.data
    parties = [
        Party(name, summand(name, pilot.identities[name], pilot.roster, {_MOMENTS: _moments(data, name)}))
        for name in data.utilities
    ]
    channel = LocalChannel(parties)
    total = secure_sum(channel, _MOMENTS).high
    n_columns = data.features.shape[1] + 2
    gram = np.zeros((n_columns, n_columns))
    gram[np.triu_indices(n_columns)] = total
    gram = gram + np.triu(gram, 1).T
    mean = gram[0, 1:-1] / gram[0, 0]
    deviation = np.sqrt(np.maximum(np.diag(gram)[1:-1] / gram[0, 0] - mean**2, 1e-18))
    scaling = mean, deviation
    # In standardised columns, where the normal equations are well conditioned.
    change = np.eye(n_columns)
    change[1:-1, 1:-1] = np.diag(1 / deviation)
    change[0, 1:-1] = -mean / deviation
    scaled = change.T @ gram @ change
    solved = np.linalg.lstsq(scaled[:-1, :-1], scaled[:-1, -1], rcond=None)[0]
    squares = _linear(solved, scaling, pilot.rate, link=lambda values: values)
    seconds = time.perf_counter() - begin
    made = pilot.rows("least squares", squares, rounds=1, n_bytes=channel.traffic.n_bytes(), seconds=seconds)

    begin = time.perf_counter()
    channel = LocalChannel([Party(name, trainer(name, pilot.learner(name, scaling))) for name in data.utilities])
    start: Payload = {"coefficients": np.zeros(data.features.shape[1] + 1)}
    averaged = federated_average(channel, start, pilot.options.averaging)
    model = _linear(averaged.weights["coefficients"], scaling, pilot.rate)
    return made + pilot.rows(
        "federated averaging",
        model,
        rounds=len(averaged.history),
        n_bytes=channel.traffic.n_bytes(),
        seconds=time.perf_counter() - begin,
    )


def _moments(data: AdoptionData, utility: str) -> Callable[[Payload], tuple[FloatArray, None]]:
    """Sums of products of [1, features, label] over a utility's households, upper triangle."""

    def contribution(asked: Payload) -> tuple[FloatArray, None]:
        features, owns = data.training(utility)
        rows = np.column_stack([np.ones(len(owns)), features, owns])
        return (rows.T @ rows)[np.triu_indices(rows.shape[1])], None

    return contribution


def _private(pilot: _Pilot) -> list[dict[str, Any]]:
    options, data, made = pilot.options, pilot.data, list[dict[str, Any]]()
    ways = by_descent(data, options.descent), by_squares(data, options.radius)
    for epsilon in options.epsilons:
        for way in ways:
            begin = time.perf_counter()
            noise = SharedNoise.for_budget(
                epsilon, pilot.delta, way.rounds, way.clip, pilot.least_members, options.colluding
            )
            budget, channel = FederatedBudget(noise, epsilon, pilot.delta), _private_channel(pilot, way, noise)
            try:
                found = way.fit(channel, budget)
            except ProtocolError as error:
                _LOG.warning("%s at epsilon %g has no result: %s", way.method, epsilon, error)
                scorer = None
            else:
                scorer = _linear(found, PUBLIC_SCALING, pilot.rate, way.link)
            made += pilot.rows(
                way.method,
                scorer,
                epsilon=epsilon,
                spent=budget.spent(),
                delta=pilot.delta,
                rounds=len(budget.rounds),
                n_bytes=channel.traffic.n_bytes(),
                seconds=time.perf_counter() - begin,
            )
    return made


def _private_channel(pilot: _Pilot, way: PrivateWay, noise: SharedNoise) -> LocalChannel:
    names = pilot.data.utilities
    parties = []
    for name in names:
        own = {way.what: PrivateContribution(way.vectors(name), noise, way.rounds, pilot.source)}
        parties.append(Party(name, private_summand(name, pilot.identities[name], pilot.roster, own)))
    gone = np.random.default_rng([pilot.seed, 1]).random((way.rounds, len(names))) < pilot.options.dropping

    def lost(task: str, member: str, before: int) -> bool:
        return task == MASKED and bool(gone[before % way.rounds, names.index(member)])

    return LocalChannel(parties, lost)
