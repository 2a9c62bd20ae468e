"""Secret normal equations against fractions, the promise for the worst inputs, and what is opened on the way."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, rehearse
from unlearn.privacy.mpc.joint import compute
from unlearn.privacy.mpc.programs import normal_equations
from unlearn.privacy.mpc.programs.normal_equations import own_moments, precision_for, rows_scale, solve

pytestmark = pytest.mark.extras
Rows = list[tuple[np.ndarray, np.ndarray]]


def drawn(seed: int, columns: int, loads: int = 2, n: int = 20, parties: int = 3) -> Rows:
    random = np.random.default_rng(seed)
    return [(random.uniform(-1, 1, (n, columns)), random.uniform(-1, 1, (n, loads))) for _ in range(parties)]


def inputs_of(rows: Rows) -> dict[str, Payload]:
    n = sum(len(own) for own, _ in rows)
    return {f"party {at}": own_moments(own, loads, n) for at, (own, loads) in enumerate(rows)}


def told(rows: Rows, **public: Any) -> dict[str, Any]:
    n = {f"party {at}": len(own) for at, (own, _) in enumerate(rows)}
    return {"columns": rows[0][0].shape[1], "rows": n, **public}


def exact(rows: Rows, ridge: float) -> list[list[Fraction]]:
    """θ of each load in fractions, by elimination."""
    n = sum(len(own) for own, _ in rows)
    scale, f = rows_scale(n), rows[0][0].shape[1]
    pairs = [both for own, loads in rows for both in zip(own, loads, strict=True)]
    both = [[Fraction(one) for one in (*own, *loads)] for own, loads in pairs]
    size = len(both[0])
    work = [[sum(z[i] * z[j] for z in both) / scale for j in range(size)] for i in range(f)]
    for i in range(f):
        work[i][i] += Fraction(ridge)
    for k in range(f):
        work[k] = [one / work[k][k] for one in work[k]]
        for i in set(range(f)) - {k}:
            work[i] = [one - work[i][k] * other for one, other in zip(work[i], work[k], strict=True)]
    return [[work[i][f + b] for i in range(f)] for b in range(size - f)]


def error(rows: Rows, **public: Any) -> tuple[float, float]:
    """Largest error of a load in Euclidean norm, and what was promised."""
    found = rehearse(solve, inputs_of(rows), told(rows, **public))
    true = exact(rows, public.get("ridge", 1e-6))
    loads = zip(found["theta"].tolist(), true, strict=True)
    off = [[Fraction(one) - other for one, other in zip(*both, strict=True)] for both in loads]
    return max(float(sum(one * one for one in own)) ** 0.5 for own in off), found["bound"].item()


@pytest.mark.parametrize("seed", range(proof_count(100)))
def test_coefficients_are_as_near_as_promised(seed: int) -> None:
    off, promised = error(drawn(seed, columns=2 + seed % 3, n=4 + seed % 5))
    assert off <= promised <= 1e-9


def worst(kind: str) -> Rows:
    rows = drawn(7, 4, n=6)
    for own, loads in rows:
        if kind == "copies":
            own[:, 1] = own[:, 0]
        elif kind == "nearly copies":
            own[:, 1] = own[:, 0] * (1 - 1e-6)
        elif kind == "empty":
            own[:], loads[:] = 0, 0
        elif kind == "ones":
            own[:], loads[:] = 1, -1
        else:
            own *= 1e-5
    return rows


@pytest.mark.parametrize("ridge", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("kind", ["copies", "nearly copies", "empty", "ones", "tiny"])
def test_the_promise_holds_for_rows_that_determine_nothing(kind: str, ridge: float) -> None:
    off, promised = error(worst(kind), ridge=ridge)
    assert off <= promised <= 1e-9


def test_a_party_that_forgets_gives_the_solution_that_never_had_the_rows() -> None:
    rows = drawn(1, 5, n=30)
    kept = [rows[0], (rows[1][0][5:], rows[1][1][5:]), rows[2]]
    full, left = inputs_of(rows), inputs_of(kept)
    a = sum((own.T @ own for own, _ in kept), np.zeros((5, 5))) / rows_scale(85)
    b = sum((own.T @ loads for own, loads in kept), np.zeros((5, 2))) / rows_scale(85)
    expected = np.linalg.solve(a + 1e-6 * np.eye(5), b).T
    np.testing.assert_allclose(rehearse(solve, left, told(kept))["theta"], expected, atol=2e-9)
    assert np.abs(rehearse(solve, full, told(rows))["theta"] - expected).max() > 1e-4


class Recorded:
    """Numbers that a solve opens on the way, in units of what hides them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: Rows) -> None:
        opened, columns = [], rows[0][0].shape[1]
        reveal = Context.reveal

        async def recording(self: Context, value: Any, to: Any = None) -> Any:
            opened.append(np.asarray(await reveal(self, value, to), dtype=object))
            return opened[-1]

        with monkeypatch.context() as patched:
            patched.setattr(Context, "reveal", recording)
            rehearse(solve, inputs_of(rows), told(rows))
        digits = precision_for(columns, len(rows))
        masked = np.concatenate([one.ravel() for one in opened[:-1]])
        span = 1 << (digits.whole_bits + normal_equations.HIDING_BITS)
        self.low = np.array([int(one) % 2**16 for one in masked]) / 2**16
        self.high = np.array([int(one) / span for one in masked])


def test_numbers_that_are_opened_on_the_way_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a level of 1e-7; without masks, the same tests notice at once."""
    ones = [(np.ones((8, 8)), np.ones((8, 1)))] * 3
    one, other = (Recorded(monkeypatch, rows) for rows in (ones, drawn(2, 8, 1)))
    for found in (one, other):
        assert stats.chisquare(np.histogram(found.low, 32, (0, 1))[0]).pvalue > 1e-7
        assert stats.kstest(found.high, "uniform").pvalue > 1e-7
    assert stats.ks_2samp(one.high, other.high).pvalue > 1e-7
    monkeypatch.setattr(normal_equations, "_random", lambda shape, bits: np.zeros(shape, dtype=object))
    bare = Recorded(monkeypatch, ones)
    assert stats.kstest(bare.high, "uniform").pvalue < 1e-7


def test_a_promise_that_cannot_be_kept_is_refused_before_anything_is_shared() -> None:
    with pytest.raises(InputError, match=r"got 1e-12\. Raise the ridge"):
        rehearse(solve, inputs_of(drawn(0, 3)), told(drawn(0, 3), ridge=1e-12))
    assert precision_for(30, 5, 1e-3, 1e-9).steps < precision_for(30, 5, 1e-6, 1e-9).steps
    for bad in ({"ridge": 0.0}, {"tolerance": -1.0}):
        with pytest.raises(InputError):
            precision_for(3, 3, **bad)


def test_moments_that_do_not_fit_are_refused() -> None:
    rows = drawn(0, 3)
    with pytest.raises(ProtocolError, match=r"expected \(2, 4, 4 \+ loads\)"):
        rehearse(solve, inputs_of(rows), told(rows, columns=4))
    with pytest.raises(ProtocolError, match="at least 3 parties, got 2"):
        rehearse(solve, inputs_of(rows[:2]), told(rows[:2]))
    with pytest.raises(InputError, match="rows that all agree on"):
        rehearse(solve, inputs_of(rows), {**told(rows), "rows": {f"party {at}": 19 for at in range(3)}})
    with pytest.raises(ProtocolError, match="and for no other"):
        rehearse(solve, inputs_of(rows), {**told(rows), "rows": {"party 0": 20}})
    large = {name: {**own, "moments": own["moments"] * 4711} for name, own in inputs_of(rows).items()}
    with pytest.raises(InputError, match="within") as refused:
        rehearse(solve, large, told(rows))
    assert "4711" not in str(refused.value)
    with pytest.raises(InputError, match="Divide by a public bound"):
        own_moments(np.full((2, 1), 1.5), np.ones((2, 1)), 2)
    with pytest.raises(InputError, match="fewer than here"):
        own_moments(np.ones((3, 1)), np.ones((3, 1)), 2)


@pytest.mark.slow
@pytest.mark.parametrize("n_parties", [3, 5])
def test_parties_in_processes_of_their_own_find_the_same(n_parties: int) -> None:
    rows = drawn(3, 6, n=40, parties=n_parties)
    inputs = inputs_of(rows)
    outcome = compute("unlearn.privacy.mpc.programs.normal_equations:solve", inputs, told(rows))
    expected = rehearse(solve, inputs, told(rows))
    for learned in outcome.results.values():
        assert np.linalg.norm(learned["theta"] - expected["theta"], axis=1).max() <= 2 * learned["bound"]
