"""Linkability: does a release help to join two tables about the same people that have no column in common?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from unlearn.attacks.gower import TableLike, Tables, as_tables
from unlearn.attacks.risk import Risk, measure_risk
from unlearn.checks import BoolArray, FloatArray, IntArray, require_count
from unlearn.errors import InputError


def linkability_risk(
    release: TableLike,
    original: TableLike,
    control: TableLike,
    first: Sequence[str],
    second: Sequence[str],
    *,
    n_attacks: int = 500,
    n_neighbours: int = 1,
    seed: int = 0,
) -> Risk:
    """Risk that two parts of a record are linked through the release (Giomi et al. 2023, section 4.2).

    The attacker has some columns of a person in one table and others in another one. He looks for the released records
    that are nearest by each part; he succeeds where both have one in common. The baseline draws as many released
    records at random for each part, whose chance is known.

    >>> random = np.random.default_rng(0)
    >>> people, others = random.random((200, 4)), random.random((200, 4))
    >>> linkability_risk(people, people, others, ["0", "1"], ["2", "3"]).risk.low > 0.9
    True

    Args:
        release: released records, a data frame or an array, R rows.
        original: records that the release was made from, n rows.
        control: records of others, m rows.
        first: columns of the one table; those of an array are called "0", "1", ...
        second: columns of the other.
        n_attacks: originals and controls that are tried, at most all of them.
        n_neighbours: nearest records that are compared.
        seed: of who is tried and of ties.

    Raises:
        InputError: tables that do not fit, unknown columns, columns in both parts, or more neighbours than records.
    """
    tables = as_tables(release, original, control)
    parts = tables.positions("first", first), tables.positions("second", second)
    if both := set(parts[0]) & set(parts[1]):
        raise InputError(
            f"first, second: expected no column in both, got {', '.join(tables.columns[i] for i in both)}."
        )
    k = require_count("n_neighbours", n_neighbours)
    if k > len(tables.release):
        raise InputError(f"n_neighbours: expected at most the {len(tables.release)} released records, got {k}.")
    random = np.random.default_rng(seed)
    tried, others = tables.draw(n_attacks, random)
    attack, other = (_linked(tables, side, parts, k, random) for side in (tried, others))
    # k records twice out of R at random: the chance of one in common in closed form.
    n_released = len(tables.release)
    chance = 1 - math.comb(n_released - k, k) / math.comb(n_released, k)
    tries = (attack.sum(), len(attack)), (chance * len(attack), len(attack)), (other.sum(), len(other))
    return measure_risk("linkability", *((float(successes), n) for successes, n in tries))


def _linked(
    tables: Tables, asked: FloatArray, parts: tuple[IntArray, IntArray], k: int, random: np.random.Generator
) -> BoolArray:
    return _shared(*(tables.nearest(asked, part, k, random) for part in parts))


def _shared(first: IntArray, second: IntArray) -> BoolArray:
    """Whether two lists of records have one in common, shape (n,)."""
    return (first[:, :, None] == second[:, None, :]).any(axis=(1, 2))
