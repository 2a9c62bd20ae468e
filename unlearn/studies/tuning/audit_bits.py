"""Attackers who read a released model bit by bit: one who repeats both histories, one who learns from lowest bits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, short_repr
from unlearn.criteria import grids_of
from unlearn.forecasters import Forecaster
from unlearn.studies._shared.attackers import halves
from unlearn.unlearning.tuning import Tuning

Words = NDArray[np.uint64]

#: Ridge of the attacker who learns from lowest bits, relative to the mean square of a model's bits.
RIDGE = 0.1


@short_repr
@dataclass(frozen=True, eq=False)
class Released:
    """A released model as an attacker reads it, bit by bit.

    Attributes:
        head: that forecasts, shape (B, D).
        parameters: bits of every float64 of the heads (the tuned one, the least-squares one) and of their sums.
        others: bits of what else is stored: weights of rows, and one word in which any change of all the rest shows
            (extractor, scaler, masks, what the card says of the tuning, what the recipe's grid has priced). Nothing of
            the card's list of deletions, which says openly that rows were forgotten.
    """

    head: FloatArray
    parameters: Words
    others: Words

    @classmethod
    def of(cls, model: Forecaster) -> Released:
        """Read all that `save_forecaster` would write, and what the grid of a tuned model has priced."""
        stored = {name: value.numpy() for name, value in model.state_dict().items()}
        if model.statistics is not None:
            stored |= {name: value.numpy() for name, value in model.statistics.to_tensors().items()}
        floats = {name: stored.pop(name) for name in sorted(stored) if name in _HEADS or name.startswith("statistics.")}
        weights = stored.pop("weights")
        said = json.dumps(model.card.tuned, sort_keys=True) + _priced(model)
        rest = hashlib.blake2b(said.encode(), digest_size=8)
        for name in sorted(stored):
            rest.update(f"{name} {stored[name].dtype} {stored[name].shape}".encode())
            rest.update(np.ascontiguousarray(stored[name]).tobytes())
        return cls(
            head=floats["tuned" if model.is_tuned else "head"].copy(),
            parameters=np.concatenate([_words(value) for value in floats.values()]),
            others=np.concatenate([_words(weights), np.frombuffer(rest.digest(), dtype=np.uint64)]),
        )

    @property
    def words(self) -> Words:
        return np.concatenate([self.parameters, self.others])


_HEADS = ("head", "tuned")


def _priced(model: Forecaster) -> str:
    """What the grids of a tuned model, which are in its memory and in no file, have priced."""
    if not isinstance(model.recipe, Tuning):
        return ""
    return repr([grid.statistics for grid in grids_of(model.recipe.made()[0])])


def _words(value: NDArray) -> Words:
    return np.ascontiguousarray(value, dtype=np.float64).reshape(-1).view(np.uint64)


def bits_differ(one: Released, other: Released) -> float:
    """Share of the numbers whose bits differ between two models."""
    return float((one.words != other.words).mean())


def replay_scores(models: Sequence[Released], inside: Sequence[Released], outside: Sequence[Released]) -> FloatArray:
    """Scores of an attacker who knows U and each model's training set, and has repeated both histories of each.

    Args:
        models: to score.
        inside: for each of them, what came of the history with U.
        outside: what came of the one without.

    Returns:
        How many numbers equal those with U bit for bit, minus how many equal those without, shape (k,).
    """
    found = [
        float((own.words == one.words).sum()) - float((own.words == other.words).sum())
        for own, one, other in zip(models, inside, outside, strict=True)
    ]
    return np.array(found)


def low_bit_scores(
    inside: Sequence[Released], outside: Sequence[Released], n_bits: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Scores of an attacker who knows no training set, and learns from other models what lowest bits give away.

    A ridge regression of IN (1) and OUT (−1) on the lowest bits of the mantissa of all parameters, fitted on the other
    half of the pairs. Models with the same bits score the same.

    Args:
        inside: models IN, one for each pair.
        outside: models OUT, in the same order of pairs.
        n_bits: of each parameter.
        seed: of the halves.

    Returns:
        Scores of the models IN and of the models OUT, shape (k,) each.
    """
    n_pairs = len(inside)
    bits = np.stack([_low_bits(model.parameters, n_bits) for model in (*inside, *outside)])
    # Sums of products of bits are whole numbers, which float32 holds exactly up to 2²⁴.
    products = (bits.astype(np.float32) @ bits.T.astype(np.float32)).astype(np.float64)
    scores = np.empty(2 * n_pairs)
    for asked in halves(n_pairs, seed):
        asked, known = np.tile(asked, 2), np.tile(~asked, 2)
        label = np.repeat([1.0, -1.0], n_pairs)[known]
        own = products[np.ix_(known, known)]
        mean = own.mean(axis=0)
        centred = own - mean - mean[:, None] + mean.mean()
        ridge = RIDGE * max(float(np.trace(own)) / len(own), 1.0)
        dual = np.linalg.solve(centred + ridge * np.eye(len(own)), label)
        # A row by itself, so that equal models score alike to the last bit.
        scores[asked] = ((products[np.ix_(asked, known)] - mean) * (dual - dual.mean())).sum(axis=1)
    return scores[:n_pairs], scores[n_pairs:]


def _low_bits(words: Words, n_bits: int) -> NDArray[np.uint8]:
    """The lowest bits of each word as zeros and ones, shape (n n_bits,)."""
    places = np.arange(n_bits, dtype=np.uint64)
    return ((words[:, None] >> places) & np.uint64(1)).astype(np.uint8).reshape(-1)
