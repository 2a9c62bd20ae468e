"""Inference: does a release help to guess one column of a record from its others?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unlearn.attacks.gower import TableLike, as_tables
from unlearn.attacks.risk import Risk, measure_risk
from unlearn.checks import BoolArray, FloatArray, require_not_negative
from unlearn.errors import InputError


def inference_risk(
    release: TableLike,
    original: TableLike,
    control: TableLike,
    known: Sequence[str],
    secret: str,
    *,
    n_attacks: int = 500,
    tolerance: float = 0.05,
    seed: int = 0,
) -> Risk:
    """Risk that a secret is guessed from what is known (Giomi et al. 2023, section 4.3).

    The attacker takes the secret of the released record that is nearest by the columns that he knows. A category is
    guessed where it is equal, a number where it is as near as the tolerance. The baseline takes the secret of a
    released record at random. What the release teaches about everybody helps with controls as well, and is no risk.

    >>> random = np.random.default_rng(0)
    >>> people, others = random.random((200, 4)), random.random((200, 4))
    >>> inference_risk(people, people, others, ["0", "1", "2"], "3").risk.low > 0.9
    True

    Args:
        release: released records, a data frame or an array, R rows.
        original: records that the release was made from, n rows.
        control: records of others, m rows.
        known: columns that the attacker has; those of an array are called "0", "1", ...
        secret: the column that he wants.
        n_attacks: originals and controls that are tried, at most all of them.
        tolerance: difference between guess and truth over the truth, up to which a number is guessed.
        seed: of who is tried, of ties and of the baseline.

    Raises:
        InputError: tables that do not fit, unknown columns, or a secret that is known.
    """
    tables = as_tables(release, original, control)
    columns, target = tables.positions("known", known), int(tables.positions("secret", [secret])[0])
    if target in columns:
        raise InputError(f"known: expected columns other than the secret, got {secret} among them.")
    require_not_negative("tolerance", tolerance)
    allowed = tolerance if tables.numeric[target] else 0.0
    random = np.random.default_rng(seed)
    tried, others = tables.draw(n_attacks, random)
    secrets = tables.release[:, target]
    attack, other = (
        _guessed(secrets[tables.nearest(side, columns, 1, random)[:, 0]], side[:, target], allowed)
        for side in (tried, others)
    )
    naive = _guessed(random.choice(secrets, size=len(tried)), tried[:, target], allowed)
    return measure_risk("inference", *((int(found.sum()), len(found)) for found in (attack, naive, other)))


def _guessed(guess: FloatArray, truth: FloatArray, tolerance: float) -> BoolArray:
    """Which guesses are near enough; missing is guessed by missing alone."""
    near = np.abs(guess - truth) <= tolerance * np.abs(truth)
    return near | (np.isnan(guess) & np.isnan(truth))
