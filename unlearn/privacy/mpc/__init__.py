"""Parties compute together on data that none of them shows to another.

Sums of thousands of meters need nothing beyond the core: `sum_meters`.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.mpc.credentials import Credentials, make_credentials
    from unlearn.privacy.mpc.party_processes import PartyProcess, PartyProcesses
    from unlearn.privacy.mpc.shamir import Decoded, Field, corrects, decode, detects, share
    from unlearn.privacy.mpc.sockets import PartyServer, SocketChannel
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # parties in processes of their own
    "Credentials", "PartyProcess", "PartyProcesses", "PartyServer", "SocketChannel", "make_credentials",
    # shares of many numbers
    "Decoded", "Field", "corrects", "decode", "detects", "share",
]  # fmt: skip
