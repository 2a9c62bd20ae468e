"""The same jobs and members in one process, in Flower's simulation, and across real processes over TLS.

Needs the extra `federated`. Flower carries the messages and says which nodes are there; what is in them, and what
protects it, is this library's: Flower's own secure aggregation and differential privacy are not used.
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.privacy.federated.flower.certificates import Certificates, make_certificates, make_member_key
    from unlearn.privacy.federated.flower.channel import FlowerChannel
    from unlearn.privacy.federated.flower.members import Factory, Job, Member, Settings, run_locally
    from unlearn.privacy.federated.flower.processes import Federation
    from unlearn.privacy.federated.flower.simulation import simulate
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # what is run, and by whom
    "Factory", "Job", "Member", "Settings",
    # where it runs
    "Federation", "FlowerChannel", "run_locally", "simulate",
    # who is let in
    "Certificates", "make_certificates", "make_member_key",
]  # fmt: skip
