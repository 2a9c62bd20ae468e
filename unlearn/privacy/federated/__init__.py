"""Utilities learn together without pooling their data, and can leave again.

Whoever coordinates asks members over a `Channel`, within one process or across many; every technique is written once,
against the channel.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.federated.adoption import (
        FEATURES,
        PUBLIC_SCALING,
        AdoptionData,
        adoption_data,
        household_features,
    )
    from unlearn.privacy.federated.adversaries import PoisonedLearner, ScaledUpdates
    from unlearn.privacy.federated.averaged_network import AveragedNetwork, fit_averaged
    from unlearn.privacy.federated.averaging import Averaged, AveragingOptions, RoundRecord, federated_average
    from unlearn.privacy.federated.averaging_secure import averaging_party
    from unlearn.privacy.federated.channel import Channel, LocalChannel, Replies, Sent, Traffic
    from unlearn.privacy.federated.designs import Design, LinearDesign, NetworkDesign
    from unlearn.privacy.federated.differences import Revealed, difference_reveals
    from unlearn.privacy.federated.fixed_point import FixedPoint
    from unlearn.privacy.federated.identity import Identity, Roster
    from unlearn.privacy.federated.layout import Layout
    from unlearn.privacy.federated.learners import Learner, LocalTraining, NetworkLearner
    from unlearn.privacy.federated.least_squares import fit_federated, refit_federated, update_federated, withdraw
    from unlearn.privacy.federated.logistic import LogisticLearner, household_gradients
    from unlearn.privacy.federated.messages import Payload, pack, unpack
    from unlearn.privacy.federated.model import FederatedForecaster, FederatedModel
    from unlearn.privacy.federated.noise import (
        DropOuts,
        FederatedBudget,
        RoundNoise,
        SharedNoise,
        composed_epsilon,
        epsilon_under_drop_outs,
        sharing_error,
    )
    from unlearn.privacy.federated.party import Party
    from unlearn.privacy.federated.private import (
        PrivateContribution,
        PrivateDescent,
        descend,
        private_round,
        private_summand,
    )
    from unlearn.privacy.federated.private_classifiers import PrivateWay, by_descent, by_squares
    from unlearn.privacy.federated.robust import (
        AGGREGATORS,
        Aggregator,
        ClippedMean,
        CoordinateMedian,
        GeometricMedian,
        Krum,
        MultiKrum,
        TrimmedMean,
        WeightedMean,
    )
    from unlearn.privacy.federated.rollback import Unlearned, retrain, roll_back
    from unlearn.privacy.federated.sum_protocol import SumOptions
    from unlearn.privacy.federated.summands import Contribution, summand
    from unlearn.privacy.federated.summing import RefusedError, SecureTotal, secure_sum
    from unlearn.privacy.federated.training import trainer, training_contributions
    from unlearn.privacy.federated.utility import Utility
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # who talks to whom, and what was sent
    "Channel", "LocalChannel", "Party", "Replies", "Sent", "Traffic",
    # what a message carries
    "Payload", "pack", "unpack",
    # exact least squares in one round, and exact unlearning in another
    "FederatedForecaster", "FederatedModel", "Utility", "fit_federated", "refit_federated", "update_federated",
    "withdraw",
    # what rows mean, and what members compute of them
    "Design", "Layout", "LinearDesign", "NetworkDesign",
    # what two totals tell of what left between them
    "Revealed", "difference_reveals",
    # noise that members share, and what rounds cost when members drop out
    "DropOuts", "FederatedBudget", "RoundNoise", "SharedNoise", "composed_epsilon", "epsilon_under_drop_outs",
    "sharing_error",
    # private sums in secret
    "PrivateContribution", "PrivateDescent", "descend", "private_round", "private_summand",
    # the pilot: who has a vehicle
    "FEATURES", "PUBLIC_SCALING", "AdoptionData", "LogisticLearner", "PrivateWay", "adoption_data", "by_descent",
    "by_squares", "household_features", "household_gradients",
    # members train, the coordinator averages
    "Averaged", "AveragedNetwork", "AveragingOptions", "Learner", "LocalTraining", "NetworkLearner", "RoundRecord",
    "averaging_party", "federated_average", "fit_averaged", "trainer", "training_contributions",
    # rules that malicious members do not decide, and such members
    "AGGREGATORS", "Aggregator", "ClippedMean", "CoordinateMedian", "GeometricMedian", "Krum", "MultiKrum",
    "PoisonedLearner", "ScaledUpdates", "TrimmedMean", "WeightedMean",
    # a member leaves
    "Unlearned", "retrain", "roll_back",
    # who the members are
    "Identity", "Roster",
    # sums of which nobody sees a summand
    "Contribution", "FixedPoint", "RefusedError", "SecureTotal", "SumOptions", "secure_sum", "summand",
]  # fmt: skip
