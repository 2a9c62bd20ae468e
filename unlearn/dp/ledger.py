"""What private fits promise and have spent: guarantees on cards, charges before a fit begins."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from unlearn.checks import require_count, require_fraction, require_positive
from unlearn.dp.lines import add_line, read_lines
from unlearn.dp.noise import NoiseSource
from unlearn.errors import InputError

#: Where the promise ends, whatever the mechanism.
NOT_TIMED = "How long a fit takes is not covered."
#: What noise on sums is, and what noise on gradients is.
EXACT = (
    "Noise on sums is drawn exactly, in whole numbers, from the operating system's generator (Canonne, Kamath and "
    "Steinke 2020), on a grid that every household is rounded to."
)
FLOATS = (
    "Gradients and their noise are floats. The noise comes from the operating system's generator, each number the sum "
    "of four (Holohan and Braghin 2021), which withstands what is known of attacks on last bits. Epsilon is proven for "
    "real numbers, not for floats."
)
SIMULATED = "The noise comes from a seed, on simulated data: this epsilon protects nobody. Never release real data so."


def noise_claims(source: NoiseSource, *mechanisms: str) -> dict[str, object]:
    """What a card says of its noise: `noise`, and `caveats`.

    Args:
        source: where it was drawn.
        *mechanisms: `EXACT`, `FLOATS` or both.
    """
    claims = [SIMULATED] if source.kind == "simulated" else list(mechanisms)
    return {"noise": source.kind, "caveats": [*claims, NOT_TIMED]}


def require_guarantee(epsilon: float, delta: float, n_units: int) -> None:
    """Refuse an (ε, δ) that is none, or that would promise nothing for so many units.

    Args:
        epsilon: ε, above 0 and finite. Training without privacy is another function, not a large ε.
        delta: δ, below 1/N: a mechanism that publishes one of N households in full, at random, has δ = 1/N.
        n_units: N, the number of households; it counts as public.

    Raises:
        InputError: any of them is out of range.
    """
    require_positive("epsilon", epsilon)
    require_fraction("delta", delta)
    require_count("number of households", n_units)
    if delta >= 1 / n_units:
        raise InputError(
            f"delta: expected less than 1/N = {1 / n_units:.3g} for {n_units} households, got {delta:g}: publishing "
            f"one household in full would pass as private. Take {default_delta(n_units):.2g} or less."
        )


def default_delta(n_units: int) -> float:
    """`1 / (10 N)`: a tenth of what would allow to publish one household in full."""
    return 1 / (10 * require_count("number of households", n_units))


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Charged:
    """What was charged to the household that was charged most, by adding up.

    Attributes:
        epsilon: ε of all fits together.
        delta: δ of all fits together.
        fits: how many fits.
        unfinished: how many of them were not seen to end: killed, failed, or still at it.
    """

    epsilon: float
    delta: float
    fits: int
    unfinished: int


class PrivacyLedger:
    """A file of charges, a line each; lines are only ever added. It names households by hashes, and has mode 600.

    Charges add up household by household, whatever else of their data a fit sees: their ε, and their δ (basic
    composition). Fits that are charged elsewhere are not known.

    Example:
        >>> import tempfile
        >>> ledger = PrivacyLedger(Path(tempfile.mkdtemp()) / "charges.jsonl")
        >>> with ledger.charged(["a", "b"], 1.0, 1e-5, "a forecaster") as total:
        ...     pass  # fit here
        >>> ledger.of(["b", "c"]).epsilon
        1.0
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @contextmanager
    def charged(self, households: Iterable[object], epsilon: float, delta: float, what: str) -> Iterator[Charged]:
        """Charge households, then let the block fit. If it fails or is killed, the charge stays.

        Args:
            households: names of all that the fit may see.
            epsilon: ε of the fit.
            delta: δ of the fit.
            what: is fitted, for messages.

        Yields:
            What these households are charged in all, this fit included; it counts as one that ends.

        Raises:
            InputError: no households, a promise that is none for so many, or a file that cannot be written. Nothing is
                fitted then.
            DataError: a line of the file that is damaged.
        """
        names = _hashes(households)
        require_guarantee(epsilon, delta, len(names))
        before = self.of_hashes(names)
        if before.unfinished:
            log.warning(
                "%s: %d private fits of these households were charged and have not ended. One that was killed does "
                "not go on and stays charged; %s is charged anew, epsilon = %g in all.",
                self.path, before.unfinished, what, before.epsilon + epsilon,
            )  # fmt: skip
        own = uuid4().hex
        charge = {"charge": own, "at": datetime.now(UTC).isoformat(), "what": what}
        self._add({**charge, "epsilon": epsilon, "delta": delta, "households": sorted(names)})
        yield replace(self.of_hashes(names), unfinished=before.unfinished)
        self._add({"ended": own})

    def of(self, households: Iterable[object]) -> Charged:
        """What was charged to these households; see `Charged`.

        Raises:
            InputError: no households.
            DataError: a line of the file that is damaged.
        """
        return self.of_hashes(_hashes(households))

    def of_hashes(self, names: set[str]) -> Charged:
        """As `of`, for hashes of names."""
        lines = self._lines()
        ended = {line["ended"] for line in lines if "ended" in line}
        charges = [(line, names & set(line["households"])) for line in lines if "charge" in line]
        touching = [line for line, shared in charges if shared]
        spent: dict[str, list[tuple[float, float]]] = {}
        for line, shared in charges:
            for name in shared:
                spent.setdefault(name, []).append((line["epsilon"], line["delta"]))
        totals = [tuple(math.fsum(part) for part in zip(*own, strict=True)) for own in spent.values()]
        epsilon, delta = (max((total[i] for total in totals), default=0.0) for i in (0, 1))
        return Charged(epsilon, delta, len(touching), sum(line["charge"] not in ended for line in touching))

    def _add(self, line: dict[str, Any]) -> None:
        add_line(self.path, line, "a private fit")

    def _lines(self) -> list[dict[str, Any]]:
        return read_lines(self.path)


def _hashes(households: Iterable[object]) -> set[str]:
    names = {hashlib.sha256(str(name).encode()).hexdigest()[:16] for name in households}
    if not names:
        raise InputError("households: expected the names of those that a fit may see, got none.")
    return names
