"""Shards of models: who belongs to which, mixtures and means over them, and their folders."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unlearn.detectors.base import WindowScores
from unlearn.errors import DataError, InputError
from unlearn.households.profiles import DailyProfiles
from unlearn.records import write_card, write_json
from unlearn.services.learners.shards import Sharded, ShardedDetector, ShardedGenerator, shard_of

NAMES = [f"c{i:04d}" for i in range(4000)]


def test_a_customer_stays_in_its_shard_whoever_else_there_is() -> None:
    every = dict(zip(NAMES, shard_of(NAMES, 5, seed=3), strict=True))
    chosen = np.random.default_rng(0).permutation(NAMES)[:100].tolist()
    assert shard_of(chosen, 5, seed=3).tolist() == [every[own] for own in chosen]
    assert shard_of([], 5).shape == (0,)


def test_shards_are_of_like_size_and_the_seed_draws_other_ones() -> None:
    first, other = shard_of(NAMES, 4, seed=0), shard_of(NAMES, 4, seed=1)
    # Binomial with standard deviation 27 about 1,000.
    assert np.abs(np.bincount(first, minlength=4) - 1000).max() < 150
    assert 0.15 < (first == other).mean() < 0.35


@pytest.mark.parametrize("n_shards", [0, -1, 1.5])
def test_fewer_than_one_shard_is_refused(n_shards: Any) -> None:
    with pytest.raises(InputError, match="shards"):
        shard_of(NAMES, n_shards)


def constant(kwh: float, segments: tuple[str, ...]) -> Any:
    """A generator of one value, whose days are all of its last class."""

    def sample(n: int, seed: int = 0) -> DailyProfiles:
        rows = np.full(n, len(segments) - 1)
        return DailyProfiles(
            "constant", np.full((n, 24), kwh, dtype=np.float32), rows * 0 + 1, rows * 0, rows, segments
        )

    return SimpleNamespace(sample=sample, space=SimpleNamespace(segments=segments))


def test_a_mixture_draws_from_its_shards_in_proportion() -> None:
    model = ShardedGenerator((constant(1.0, ("a", "c")), constant(2.0, ("b",))), (300, 100), ("x", "y"))
    drawn = model.sample(4000, seed=1)
    assert len(drawn) == 4000
    assert drawn.segments == ("a", "b", "c")
    first = drawn.kwh[:, 0] == 1
    assert 0.72 < first.mean() < 0.78  # four standard deviations
    assert (drawn.segment[first] == 2).all()
    assert (drawn.segment[~first] == 1).all()
    # The order does not tell the shard.
    assert 0.6 < first[:400].mean() < 0.9
    np.testing.assert_array_equal(model.sample(4000, seed=1).kwh, drawn.kwh)
    assert len(model.sample(1)) == 1
    with pytest.raises(InputError, match="n: "):
        model.sample(0)


def test_a_detector_of_shards_scores_by_their_mean() -> None:
    parts = [
        SimpleNamespace(name="own", score=lambda _, k=k: WindowScores(np.full(3, k), np.full((3, 4), 2 * k)))
        for k in (1, 4)
    ]
    model = ShardedDetector(tuple(parts), (1, 1), ("x", "y"))  # type: ignore[arg-type]
    scores = model.score(None)  # type: ignore[arg-type]
    assert model.name == "own"
    assert scores.window.tolist() == [2.5] * 3
    assert (scores.hour == 5).all()


def save_text(part: str, folder: Path) -> None:
    folder.mkdir()
    (folder / "part.txt").write_text(part)
    write_card({"kind": "text"}, folder, ["part.txt"])


def test_folders_come_back_and_damage_is_named(tmp_path: Path) -> None:
    ranges = {"bus_1": [["2021-03-01T00:00:00", "2021-03-01T05:00:00"]]}
    model: Sharded[str] = Sharded(("a", "b"), (3, 4), ("x", "y"), ranges)
    model.save(tmp_path, save_text)
    found = Sharded.load(tmp_path, lambda folder: (folder / "part.txt").read_text())
    assert (found.parts, found.sizes, found.fingerprints, found.left_out) == (("a", "b"), (3, 4), ("x", "y"), ranges)

    def refuses(folder: Path) -> str:
        raise InputError("card.json: not a card of this version.")

    with pytest.raises(DataError, match=r"not a card of this version.*Restore"):
        Sharded.load(tmp_path, refuses)
    card = tmp_path / "shard_1" / "card.json"
    card.write_text(card.read_text().replace("text", "test"))
    with pytest.raises(DataError, match="shard_1"):
        Sharded.load(tmp_path, lambda folder: "")
    card.unlink()
    with pytest.raises(DataError, match="shard_1"):
        Sharded.load(tmp_path, lambda folder: "")


@pytest.mark.parametrize("card", [{}, {"sizes": [1], "fingerprints": [], "left_out": {}}, {"sizes": 3}])
def test_another_card_is_refused(tmp_path: Path, card: dict[str, Any]) -> None:
    write_json({"a": 1}, tmp_path / "a.json")
    write_card(card, tmp_path, ["a.json"])
    with pytest.raises(DataError, match=r"card\.json"):
        Sharded.load(tmp_path, lambda folder: "")
