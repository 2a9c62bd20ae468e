"""Noise that members of a federation share, and what each round costs given who survived it.

The unit is a household, which belongs to one member. In a round each member adds up its households' clipped gradients
and its share of the noise, in whole numbers on the grid of `unlearn.dp.noise`; secure summation shows the sum alone.
A share is sized for the fewest members that a round may end with, less those who may collude with the coordinator and
so know their own shares: with v of one share, s survivors and c colluders, what hides a household has variance
(s - c) v, and is never less than promised. A round with fewer survivors ends before anything is seen, for members do
not unmask it. Sized for all n members instead, as is often done, the noise falls short by every one that drops out:
`DropOuts` says by how much.

A sum of discrete Gaussians is next to a discrete Gaussian. With a share of variance v in widths of the grid, the chance
of each value of a sum of s shares differs from that of one discrete Gaussian of variance s v by a factor of at most
exp(±5 Σₖ exp(-2π² v k/(k+1))), k = 1 ... s-1 (Kairouz, Liu and Steinke 2021, "The distributed discrete Gaussian
mechanism"). So ε grows by at most twice the exponent for each number of each round (`sharing_error`). Here v is at
least 2²⁰, which makes it less than 10 to the power of minus four million. What a discrete Gaussian costs beside a
continuous one is told in `unlearn.dp.noise`.

Every round is one Gaussian mechanism on sums in which one household more or less moves at most the clip. Rounds compose
exactly: their 1/σ² add up, also where earlier rounds decide on later noise, as drop-outs may, as long as the limit on
the sum is fixed before (Smith and Thakurta 2022). Nothing is taken off for drop-outs or for who happens to be
available: neither is a secret draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    FloatArray,
    require_count,
    require_distinct,
    require_fraction,
    require_positive,
)
from unlearn.dp.composition import gaussian_epsilon, gaussian_sigma_for
from unlearn.dp.noise import Grid, Noise, NoiseSource, noise_source
from unlearn.errors import InputError, ProtocolError

#: Least variance of a share, in squared widths of the grid; less is next to no noise, and its sums are no Gaussians.
_LEAST_VARIANCE = 2**20

#: Whole numbers up to this are exact floats.
_EXACT = 2**53


@dataclass(frozen=True)
class SharedNoise:
    """Who adds how much noise to a sum over the households of all members.

    Attributes:
        clip: Euclidean norm that a household's vector is clipped to, chosen without looking at the data.
        noise_multiplier: σ that is promised for every round that is released, over `clip`.
        least_members: fewest members that a round may end with.
        colluding: most members who may tell the coordinator their shares, and are counted as if they had added none. A
            member that is curious for itself is one.

    Raises:
        InputError: any of them is out of range, or nobody is left to add noise.
    """

    clip: float
    noise_multiplier: float
    least_members: int
    colluding: int = 0

    def __post_init__(self) -> None:
        Grid(self.clip)
        require_positive("noise_multiplier", self.noise_multiplier)
        require_count("least_members", self.least_members)
        if isinstance(self.colluding, bool) or not isinstance(self.colluding, int) or self.colluding < 0:
            raise InputError(f"colluding: expected a whole number of at least 0, got {self.colluding!r}.")
        if self.colluding >= self.least_members:
            raise InputError(
                f"colluding: expected fewer than least_members = {self.least_members}, got {self.colluding}: nobody "
                "would be left to add noise that they do not know. Raise least_members."
            )
        if self.share_variance < _LEAST_VARIANCE:
            raise InputError(
                f"noise_multiplier: expected shares of at least 1e-6 clips, got {self.noise_multiplier:g} among "
                f"{self.least_members - self.colluding}, which protects nobody. Raise it."
            )

    @classmethod
    def for_budget(
        cls, epsilon: float, delta: float, rounds: int, clip: float, least_members: int, colluding: int = 0
    ) -> SharedNoise:
        """The least noise with which so many rounds, each with the fewest members, keep (ε, δ).

        >>> noise = SharedNoise.for_budget(3.0, 1e-5, rounds=20, clip=1.0, least_members=4)
        >>> round(noise.noise_multiplier, 2), round(noise.multiplier(4), 2), round(noise.multiplier(5), 2)
        (6.22, 6.22, 6.95)

        Args:
            epsilon, delta: for each household, after all rounds.
            rounds: how many may be released; fixed in advance.
            clip, least_members, colluding: see the class.

        Raises:
            InputError: any of them is out of range.
        """
        once = gaussian_sigma_for(epsilon, delta, sensitivity=1.0)
        # Rounded up: the search has ten digits, and a root of the rounds has its rounding.
        sigma = once * math.sqrt(require_count("rounds", rounds)) * (1 + 1e-9)
        return cls(clip, sigma, least_members, colluding)

    @property
    def grid(self) -> Grid:
        """The whole numbers that vectors and noise are written in."""
        return Grid(self.clip)

    @property
    def share_variance(self) -> int:
        """Variance of one member's share in squared widths of the grid: v, rounded up."""
        wanted = (Fraction(self.noise_multiplier) * self.grid.longest) ** 2
        return math.ceil(wanted / (self.least_members - self.colluding))

    def multiplier(self, survivors: int, plain: int = 0) -> float:
        """σ of the noise in a round, over the clip, as far as it hides households of members not seen in plain.

        Args:
            survivors: members whose shares are in what was released.
            plain: how many of them were seen in plain besides, so that their shares can be subtracted.

        Raises:
            InputError: fewer survivors than `least_members`.
        """
        require_count("survivors", survivors)
        if survivors < self.least_members:
            raise InputError(
                f"survivors: expected at least least_members = {self.least_members}, got {survivors}: such a round is "
                "not to be released."
            )
        # Its own share hides a member's households whoever else colludes or was seen.
        shares = max(1, survivors - self.colluding - plain)
        return math.sqrt(self.share_variance * shares) / self.grid.longest

    @property
    def plain_multiplier(self) -> float:
        """σ of a single member's share, which is all that hides its households where it was seen in plain."""
        return math.sqrt(self.share_variance) / self.grid.longest

    def share(self, vectors: ArrayLike, noise: Noise | NoiseSource = "os") -> FloatArray:
        """A member's part of a round: its households' vectors, clipped and added up, with its share of the noise.

        Args:
            vectors: one of each household, shape (n, W); none (n = 0) is a share of noise alone.
            noise: "os", or a source that `noise_source` gave for the data that the vectors are made of.

        Returns:
            Whole numbers, in widths of the grid, shape (W,): exact as floats, so that secure sums of them are.

        Raises:
            InputError: no finite matrix, or a seed for data of unknown origin.
            ProtocolError: a sum beyond the floats that are exact.
        """
        source = noise_source(noise)
        total = self.grid.rounded(vectors).sum(axis=0).tolist()
        drawn = source.discrete_gaussians(len(total), self.share_variance)
        added = [own + more for own, more in zip(total, drawn, strict=True)]
        if any(abs(one) >= _EXACT for one in added):
            raise ProtocolError(
                "share of a noisy sum: expected less than 2^53 widths of the grid, got more. Lower the noise "
                "multiplier, or let the member bring fewer households."
            )
        return np.array(added, dtype=np.float64)

    def in_units(self, total: FloatArray) -> FloatArray:
        """A sum of shares in the unit of the clip."""
        return np.asarray(total, dtype=np.float64) * self.grid.width


def sharing_error(variance: float, shares: int) -> float:
    """How much a sum of discrete Gaussians adds to ε of one number, at most, as its natural logarithm.

    log(10 Σₖ exp(-2π² v k/(k+1))) over k = 1 ... shares-1 (Kairouz, Liu and Steinke 2021, taken for both
    neighbours); the logarithm, for the number itself is below the least float.

    >>> sharing_error(1.0, 2) < -7, sharing_error(2.0**20, 100) < -10_000_000
    (True, True)

    Args:
        variance: v of each share, at least 1/2.
        shares: how many are added up.

    Raises:
        InputError: either is out of range.
    """
    if require_positive("variance", variance) < 0.5:
        raise InputError(f"variance: expected at least 1/2 for the bound to hold, got {variance:g}.")
    k = np.arange(1, require_count("shares", shares))
    if not len(k):
        return -math.inf
    exponents = -2 * math.pi**2 * variance * k / (k + 1)
    return float(math.log(10) + exponents.max() + np.log(np.exp(exponents - exponents.max()).sum()))


@dataclass(frozen=True)
class RoundNoise:
    """What one round released.

    Attributes:
        round: its number.
        members: those whose vectors are in the released sum.
        plain: those whose own vectors, noise included, were seen by themselves besides: no secure sum, or one whose
            masks were opened.
        doubtful: whether it is not known what was seen, as where the coordinator vanished after members had unmasked:
            then all members of the federation stand in `members`, and the least noise is charged.

    Raises:
        InputError: no members, one twice, or one in plain that is no member.
    """

    round: int
    members: tuple[str, ...]
    plain: tuple[str, ...] = ()
    doubtful: bool = False

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("members: expected those whose vectors were released, got none. Charge no such round.")
        require_distinct("members of a round", self.members, "member")
        if strangers := set(self.plain) - set(self.members):
            raise InputError(
                f"plain: expected members of the round, got {len(strangers)} others. Name them as members, too."
            )


@dataclass
class FederatedBudget:
    """What the rounds of a training have cost each member's households, and whether another one may begin.

    >>> noise = SharedNoise.for_budget(1.0, 1e-5, rounds=2, clip=1.0, least_members=2)
    >>> budget = FederatedBudget(noise, 1.0, 1e-5)
    >>> budget.charge(RoundNoise(0, ("east", "north")))
    >>> budget.charge(RoundNoise(1, ("east", "north", "west")))
    >>> round(budget.spent("east"), 3), round(budget.spent("west"), 3)
    (0.905, 0.548)

    Attributes:
        noise: how members share it.
        epsilon, delta: the promise to each household.
        rounds: what was released so far, in order.
    """

    noise: SharedNoise
    epsilon: float
    delta: float
    rounds: list[RoundNoise] = field(default_factory=list)

    def __post_init__(self) -> None:
        require_positive("epsilon", self.epsilon)
        require_fraction("delta", self.delta)

    def charge(self, one: RoundNoise) -> None:
        """Charge a round for what it released.

        A round that ended before anyone unmasked shows nothing and is not to be charged; one of which that is not
        known is doubtful.

        Raises:
            InputError: a round that was charged already, or that had too few members.
        """
        if any(own.round == one.round for own in self.rounds):
            raise InputError(f"round: expected one that was not charged, got {one.round} again.")
        self._multiplier(one, one.members[0])  # refuses what has too few members
        self.rounds.append(one)

    def multipliers(self, member: str) -> list[float]:
        """σ of each charged round that a member's vector was in."""
        return [self._multiplier(one, member) for one in self.rounds if member in one.members]

    def spent(self, member: str | None = None) -> float:
        """ε at δ that a member's households have spent; of the member that has spent most where none is named."""
        everyone = sorted({name for one in self.rounds for name in one.members}) if member is None else [member]
        return max((composed_epsilon(self.multipliers(name), self.delta) for name in everyone), default=0.0)

    def require_left(self, members: Sequence[str]) -> None:
        """Refuse to begin a round that, at the least noise, would spend more than ε of someone.

        Raises:
            InputError: it would.
        """
        least = self.noise.multiplier(self.noise.least_members)
        for name in members:
            if composed_epsilon([*self.multipliers(name), least], self.delta) > self.epsilon:
                raise InputError(
                    f"epsilon: expected to keep {self.epsilon:g} at delta {self.delta:g} for households of {name}, "
                    f"which another round after {len(self.multipliers(name))} would exceed. Stop here, or promise less "
                    "from the start."
                )

    def _multiplier(self, one: RoundNoise, member: str) -> float:
        if one.doubtful:
            return self.noise.plain_multiplier if one.plain else self.noise.multiplier(self.noise.least_members)
        if member in one.plain:
            return self.noise.plain_multiplier
        return self.noise.multiplier(len(one.members), len(one.plain))


def composed_epsilon(multipliers: Sequence[float], delta: float) -> float:
    """ε at δ of rounds of Gaussian noise with these σ over the clip: exact, 1/σ² add up; 0 without rounds."""
    precision = math.fsum(sigma**-2 for sigma in multipliers)
    return gaussian_epsilon(math.sqrt(precision), 1.0, delta) if precision else 0.0


class DropOuts(NamedTuple):
    """ε of a training in which members drop out.

    Attributes:
        promised: what was to be kept.
        naive: what shares of 1/n of the noise each really keep with those who survived.
        right: what shares for the fewest members keep.
    """

    promised: float
    naive: float
    right: float


def epsilon_under_drop_outs(
    epsilon: float, delta: float, n_members: int, least_members: int, survivors: Sequence[int], colluding: int = 0
) -> DropOuts:
    """ε with shares that are sized for all n members, and with those that are sized for the fewest.

    >>> found = epsilon_under_drop_outs(1.0, 1e-5, n_members=5, least_members=3, survivors=[5, 4, 3, 3])
    >>> round(found.naive, 2), round(found.right, 2)
    (1.2, 0.91)

    Args:
        epsilon, delta: what is promised for as many rounds as there are `survivors`.
        n_members: members that begin.
        least_members: fewest that a round may end with.
        survivors: of each round, from `least_members` to `n_members`.
        colluding: members who know their own shares; the naive way does not count them either.

    Raises:
        InputError: any of them is out of range.
    """
    require_count("n_members", n_members)
    if least_members > n_members or not len(survivors) or max(survivors) > n_members:
        raise InputError(
            f"survivors: expected at least one round, each of {least_members} to {n_members} members, got "
            f"{list(survivors)} with least_members = {least_members}."
        )
    right = SharedNoise.for_budget(epsilon, delta, len(survivors), 1.0, least_members, colluding)
    kept = [right.multiplier(count) for count in survivors]
    fallen = [right.noise_multiplier * math.sqrt((count - colluding) / n_members) for count in survivors]
    return DropOuts(epsilon, composed_epsilon(fallen, delta), composed_epsilon(kept, delta))
