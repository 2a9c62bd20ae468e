"""Where an hour probably lies, from the signs of a few linear functions of its parameters.

The functions are the checks of the regions that hold most hours, as far as their sign differs between hours.
Hours with the same signs mostly lie in the same region or in one of a few. A cascade has a second signature for
the hours that the first one misplaces, and so on. All this only proposes: it never decides.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from unlearn.checks import FloatArray, IntArray

#: Regions whose checks make up the signs, and hours that are looked at to choose the checks.
REFERENCES, SAMPLE = 4, 4096

#: Regions proposed one after the other for the same signs, by the last signature.
CANDIDATES = 16

#: Memory of the counts of one set of signs, about.
_SIGNS_BYTES = 512

#: Signatures of a cascade.
DEPTH = 3


class Signature:
    """Signs of S functions of [π, 1], and the regions that hours with the same signs were found in."""

    def __init__(self, functions: FloatArray) -> None:
        """Start without knowledge; `functions` has shape (S, K + 1)."""
        # Single precision is enough for proposals, and half the work.
        self._functions = functions.astype(np.float32)
        # Integers whose sums a float32 holds exactly; a pair of sums names a set of signs.
        largest = 2**24 // (len(functions) + 1)
        self._weights = np.random.default_rng(0).integers(1, largest, (2, len(functions))).astype(np.float32)
        self._seen: dict[float, Counter[int]] = {}
        self._keys = np.zeros(0)
        self._candidates = np.full((1, CANDIDATES), -1)

    @classmethod
    def choose(cls, hours: FloatArray, region: IntArray, checks: list[FloatArray]) -> Signature:
        """Choose the functions by hours (n, K + 1) whose regions are known; `checks` holds each region's map."""
        common = [index for index, _ in Counter(region.tolist()).most_common(REFERENCES)]
        functions = np.hstack([checks[index] for index in common]).T
        negative = functions @ hours[:: max(1, len(hours) // SAMPLE)].T < 0
        varies = negative.any(axis=1) & ~negative.all(axis=1)
        return cls(np.ascontiguousarray(functions[varies]))

    @property
    def nbytes(self) -> int:
        """Memory of what was seen, in bytes; about, because a count is a Python object."""
        return len(self._keys) * (_SIGNS_BYTES + CANDIDATES * 8)

    def candidates(self, hours: FloatArray) -> IntArray:
        """Regions of earlier hours with the same signs, the most frequent first, padded with -1, (n, CANDIDATES)."""
        return self._candidates[self._rows(hours)]

    def first(self, hours: FloatArray, otherwise: int) -> IntArray:
        """The most frequent region of earlier hours with the same signs, (n,); `otherwise` if there were none."""
        best = self._candidates[:, 0][self._rows(hours)]
        best[best < 0] = otherwise
        return best

    def learn(self, hours: FloatArray, region: IntArray) -> None:
        """Count where these hours were found."""
        pairs, counts = np.unique(np.stack([self._name(hours), region]), axis=1, return_counts=True)
        for name, index, count in zip(pairs[0].tolist(), pairs[1].astype(int).tolist(), counts.tolist(), strict=True):
            self._seen.setdefault(name, Counter())[index] += count
        names = sorted(self._seen)
        best = [[index for index, _ in self._seen[name].most_common(CANDIDATES)] for name in names]
        # The last row is for signs that were never seen.
        self._keys = np.array(names)
        self._candidates = np.array([*(row + [-1] * (CANDIDATES - len(row)) for row in best), [-1] * CANDIDATES])

    def _name(self, hours: FloatArray) -> FloatArray:
        """A number for each hour's signs, shape (n,)."""
        negative = self._functions @ hours.astype(np.float32).T < 0
        high, low = self._weights @ negative.astype(np.float32)
        return high.astype(np.float64) * 2**24 + low

    def _rows(self, hours: FloatArray) -> IntArray:
        names = self._name(hours)
        place = np.minimum(np.searchsorted(self._keys, names), len(self._keys) - 1)
        return np.where(self._keys[place] == names, place, len(self._keys))


class Cascade:
    """Signatures, each learnt from the hours that those before it misplace."""

    def __init__(self, signatures: list[Signature] | None = None) -> None:
        self._signatures = signatures or []

    @classmethod
    def learn(cls, hours: FloatArray, region: IntArray, checks: list[FloatArray]) -> Cascade:
        """Learn from hours (n, K + 1) whose regions (n,) are known."""
        signatures: list[Signature] = []
        while len(hours) and len(signatures) < DEPTH:
            signature = Signature.choose(hours, region, checks)
            signature.learn(hours, region)
            signatures.append(signature)
            wrong = signature.first(hours, -1) != region
            hours, region = hours[wrong], region[wrong]
        return cls(signatures)

    @property
    def depth(self) -> int:
        return len(self._signatures)

    @property
    def nbytes(self) -> int:
        """Memory of what its signatures have seen, in bytes."""
        return sum(signature.nbytes for signature in self._signatures)

    def propose(self, level: int, hours: FloatArray, otherwise: int) -> IntArray:
        """The region that one of the signatures finds most likely, (n,)."""
        if level >= self.depth:
            return np.full(len(hours), otherwise)
        return self._signatures[level].first(hours, otherwise)

    def candidates(self, hours: FloatArray) -> IntArray:
        """All regions that the last signature finds possible, padded with -1, (n, CANDIDATES)."""
        return self._signatures[-1].candidates(hours)

    def add(self, hours: FloatArray, region: IntArray) -> None:
        """Teach the last signature hours that none of its candidates held."""
        self._signatures[-1].learn(hours, region)
