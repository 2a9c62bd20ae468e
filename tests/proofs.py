"""How often a test repeats what one case shows: kills, races, flipped bits, attacks, random cases."""

import os


def proof_count(full: int) -> int:
    """All repetitions where `UNLEARN_PROOF` is set, as in `make prove`; elsewhere a twentieth, and at least one."""
    return full if os.environ.get("UNLEARN_PROOF") else max(1, full // 20)
