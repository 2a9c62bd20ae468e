"""Models in shards (SISA; Bourtoule et al. 2021): whoever asks to be forgotten is in one of K models, not in all.

Each customer belongs to one shard by a keyed hash of the name, so that it stays there whoever else comes or goes, and
no list of names has to be kept. Each shard has a model of its own, trained on its customers alone. A request trains
anew the shards that held what is removed; the others keep their very parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast

import numpy as np

from unlearn.checks import IntArray, require_count, short_repr
from unlearn.detectors.base import FittedDetector, WindowScores
from unlearn.detectors.windows import Windows
from unlearn.errors import DataError, InputError
from unlearn.generators.faraday.model import Faraday
from unlearn.households.profiles import DailyProfiles
from unlearn.records import CARD, read_card, write_card

_MEND = "Restore the folder from where it was kept, or fit and save the model again."

Part = TypeVar("Part")


def shard_of(customers: Iterable[str], n_shards: int, seed: int = 0) -> IntArray:
    """The shard of each customer, from its name and the seed alone.

    >>> names = ["a", "b", "c", "d", "e"]
    >>> shard_of(names, 3)[1:].tolist() == shard_of(names[1:], 3).tolist()
    True

    Args:
        customers: names.
        n_shards: K.
        seed: keys the hash.

    Returns:
        Positions from 0 to K − 1, in the order of the names.

    Raises:
        InputError: fewer than one shard.
    """
    require_count("shards", n_shards)
    key = hashlib.sha256(f"shards:{seed}".encode()).digest()
    hashes = (hashlib.blake2b(own.encode(), digest_size=8, key=key).digest() for own in customers)
    return np.array([int.from_bytes(own, "big") % n_shards for own in hashes], dtype=np.int64)


@short_repr
@dataclass(frozen=True, eq=False)
class Sharded(Generic[Part]):
    """K models, and what tells whether they still fit their data.

    Attributes:
        parts: a fitted model per shard.
        sizes: profiles or windows that each was fitted on.
        fingerprints: a hash of each shard's training data and of the settings.
        left_out: hours whose measurements were removed by requests, by load; see `ranges_of`.
    """

    parts: tuple[Part, ...]
    sizes: tuple[int, ...]
    fingerprints: tuple[str, ...]
    left_out: Mapping[str, list[list[str]]] = field(default_factory=dict)

    def _in_short(self) -> str:
        return f"{len(self.parts)} shards, {sum(self.sizes)} examples"

    def save(self, folder: Path, save_part: Callable[[Part, Path], object]) -> None:
        """Write each part into a sub-folder, and a card that seals them all."""
        names = []
        for k, part in enumerate(self.parts):
            save_part(part, folder / f"shard_{k}")
            names.append(f"shard_{k}/{CARD}")
        card = {
            "kind": "shards",
            "sizes": list(self.sizes),
            "fingerprints": list(self.fingerprints),
            "left_out": dict(self.left_out),
        }
        write_card(card, folder, names, confidential=True)

    @classmethod
    def load(cls, folder: Path, load_part: Callable[[Path], Part]) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: a missing or damaged file, or a card of something else; names it.
        """
        card = read_card(folder, _MEND)
        try:
            sizes, fingerprints = tuple(map(int, card["sizes"])), tuple(map(str, card["fingerprints"]))
            left_out = {str(own): [[str(hour) for hour in pair] for pair in runs] for own, runs in _items(card)}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{folder / CARD}: not a card of shards of this version ({error!r}). {_MEND}") from error
        if len(sizes) != len(fingerprints) or not sizes:
            raise DataError(
                f"{folder / CARD}: expected a size and a fingerprint per shard, got {len(sizes)} and "
                f"{len(fingerprints)}. {_MEND}"
            )
        try:
            parts = tuple(load_part(folder / f"shard_{k}") for k in range(len(sizes)))
        except DataError:
            raise
        except InputError as error:
            raise DataError(f"{error} {_MEND}") from error
        return cls(parts, sizes, fingerprints, left_out)


def _items(card: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return cast(Iterable[tuple[str, Any]], card["left_out"].items())


class ShardedGenerator(Sharded[Faraday]):
    """A mixture of generators, one per shard, in proportion to the profiles of each."""

    def sample(self, n: int, seed: int = 0) -> DailyProfiles:
        """Draw exactly n profiles with labels; which shard one comes from is not told.

        Args:
            n: profiles.
            seed: of the draw.

        Raises:
            InputError: n below 1.
        """
        require_count("n", n)
        if len(self.parts) == 1:
            return self.parts[0].sample(n, seed)
        random = np.random.default_rng(seed)
        counts = random.multinomial(n, np.array(self.sizes) / sum(self.sizes))
        drawn = [
            part.sample(int(count), int(random.integers(2**32)))
            for part, count in zip(self.parts, counts, strict=True)
            if count
        ]
        segments = tuple(sorted({own for part in self.parts for own in part.space.segments}))
        # A shard knows the classes of its own customers alone.
        code = [np.searchsorted(segments, np.array(part.segments))[part.segment] for part in drawn]
        order = random.permutation(n)
        return DailyProfiles(
            name=drawn[0].name,
            kwh=np.concatenate([part.kwh for part in drawn])[order],
            month=np.concatenate([part.month for part in drawn])[order],
            day_of_week=np.concatenate([part.day_of_week for part in drawn])[order],
            segment=np.concatenate(code)[order],
            segments=segments,
        )


class ShardedDetector(Sharded[FittedDetector]):
    """Detectors, one per shard, whose scores are averaged."""

    @property
    def name(self) -> str:
        """What records call it."""
        return self.parts[0].name

    def score(self, windows: Windows) -> WindowScores:
        """Mean over the shards of the score of each window and hour."""
        scores = [part.score(windows) for part in self.parts]
        return WindowScores(
            np.mean([own.window for own in scores], axis=0), np.mean([own.hour for own in scores], axis=0)
        )
