"""Parties compute together on data that none of them shows to another.

Sums of thousands of meters need nothing beyond the core: `sum_meters`.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.mpc.aggregator import MeterAggregator, aggregator_input, aggregator_party
    from unlearn.privacy.mpc.credentials import Credentials, make_credentials
    from unlearn.privacy.mpc.hierarchy import MeterTotals, sum_meters
    from unlearn.privacy.mpc.meter_directory import BoxKey, MeterDirectory, MeterRules, SumRun
    from unlearn.privacy.mpc.opened import Openings, Plan, plan
    from unlearn.privacy.mpc.party_processes import PartyProcess, PartyProcesses
    from unlearn.privacy.mpc.sealed import Sealed, open_shares, seal_readings
    from unlearn.privacy.mpc.shamir import Decoded, Field, corrects, decode, detects, share
    from unlearn.privacy.mpc.sockets import PartyServer, SocketChannel
    from unlearn.privacy.mpc.trial import TrialMeters, trial_meters
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # parties in processes of their own
    "Credentials", "PartyProcess", "PartyProcesses", "PartyServer", "SocketChannel", "make_credentials",
    # sums of thousands of meters
    "BoxKey", "MeterAggregator", "MeterDirectory", "MeterRules", "MeterTotals", "Openings", "Plan", "Sealed", "SumRun",
    "TrialMeters", "aggregator_input", "aggregator_party", "open_shares", "plan", "seal_readings", "sum_meters",
    "trial_meters",
    # shares of many numbers
    "Decoded", "Field", "corrects", "decode", "detects", "share",
]  # fmt: skip
