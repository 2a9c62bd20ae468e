"""Budgets: the filter lets through what composition allows, and no more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.dp.composition import Loss, advanced, zcdp
from unlearn.errors import BudgetError, InputError
from unlearn.privacy.release import Budget, Filter

GAUSSIAN = Loss(math.inf, 0.0, 0.01)


def test_decimal_budgets_are_used_up_exactly() -> None:
    own = Filter(Budget(1.0))
    for i in range(10):
        assert own.spent()[:2] == (pytest.approx(i / 10), 0.0)
        own.charge(Loss.pure(0.1))
    assert own.spent().answers == 10
    with pytest.raises(BudgetError, match=r"10 answers have cost epsilon = 1, and this one would make it 1\.001"):
        own.charge(Loss.pure(0.001))
    assert own.spent().epsilon == 1.0


@given(st.lists(st.sampled_from([0.05, 0.1, 0.3, 1.0]), max_size=60), st.sampled_from(["basic", "zcdp"]))
def test_what_is_let_through_never_costs_more_than_the_budget(asked: list[float], composition: str) -> None:
    own = Filter(Budget(2.0, 1e-6, composition))
    for epsilon in asked:
        admitted = own.admits(Loss.pure(epsilon))
        before = own.spent()
        if admitted:
            own.charge(Loss.pure(epsilon))
            assert own.spent().epsilon > before.epsilon
        else:
            with pytest.raises(BudgetError, match="budget"):
                own.charge(Loss.pure(epsilon))
            assert own.spent() == before
        assert own.spent().epsilon <= 2.0
    assert own.spent().answers <= len(asked)


def test_compositions_let_different_numbers_of_answers_through() -> None:
    counts = {}
    for composition in ("basic", "advanced", "zcdp"):
        own = Filter(Budget(3.0, 1e-6, composition))
        while own.admits(Loss.pure(0.05)):
            own.charge(Loss.pure(0.05))
        counts[composition] = own.spent().answers
    assert counts["basic"] == 60
    assert counts["basic"] < counts["advanced"] < counts["zcdp"]
    n = counts["advanced"]
    assert advanced([Loss.pure(0.05)] * n, 1e-6) <= 3 < advanced([Loss.pure(0.05)] * (n + 1), 1e-6)
    n = counts["zcdp"]
    assert zcdp([Loss.pure(0.05)] * n, 1e-6) <= 3 < zcdp([Loss.pure(0.05)] * (n + 1), 1e-6)


def test_losses_without_a_bound_are_refused() -> None:
    for composition in ("basic", "advanced"):
        with pytest.raises(InputError, match="composition='zcdp'"):
            Filter(Budget(1.0, 1e-6, composition)).charge(GAUSSIAN)
    own = Filter(Budget(1.0, 1e-6, "zcdp"))
    own.charge(GAUSSIAN)
    own.charge(Loss.pure(0.1))
    assert own.spent().rho == pytest.approx(0.015)
    equal = Filter(Budget(1.0, 1e-6, "advanced"))
    equal.charge(Loss.pure(0.1))
    with pytest.raises(InputError, match="that of the first answer"):
        equal.charge(Loss.pure(0.05))


def test_budgets_are_promises() -> None:
    for epsilon in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match=r"budget\.epsilon"):
            Budget(epsilon)
    for delta in (-1e-9, 1.0, math.nan):
        with pytest.raises(InputError, match=r"budget\.delta"):
            Budget(1.0, delta)
    for composition in ("advanced", "zcdp"):
        with pytest.raises(InputError, match="above 0"):
            Budget(1.0, 0.0, composition)
    with pytest.raises(InputError, match="composition"):
        Budget(1.0, 0.0, "renyi")


@pytest.mark.extras
@pytest.mark.parametrize("seed", range(8))
def test_opendp_lets_the_same_answers_through(seed: int) -> None:
    import numpy as np
    import opendp.prelude as dp

    dp.enable_features("contrib")
    random = np.random.default_rng(seed)
    space = dp.vector_domain(dp.atom_domain(T=dp.i64)), dp.l1_distance(T=dp.i64)
    space2 = dp.vector_domain(dp.atom_domain(T=dp.i64)), dp.l2_distance(T=dp.i64)
    # Powers of 2, so that OpenDP's roundings of sums do not count.
    limit = 2.0
    for promise in ("epsilon", "rho"):
        amounts = 2.0 ** random.integers(-5, 0, 40)
        if promise == "epsilon":
            ours = Filter(Budget(limit))
            losses = [Loss.pure(own) for own in amounts]
            odometer = dp.c.make_fully_adaptive_composition(*space, dp.max_divergence())
            noises = [dp.m.make_laplace(*space, scale=1 / own) for own in amounts]
        else:
            # Of rho the sums are compared: ours is then turned into epsilon at delta.
            ours = Filter(Budget(zcdp([Loss(math.inf, 0.0, limit)], 1e-6), 1e-6, "zcdp"))
            amounts = 4.0 ** random.integers(-3, 0, 40)
            losses = [Loss(math.inf, 0.0, own) for own in amounts]
            odometer = dp.c.make_fully_adaptive_composition(*space2, dp.zero_concentrated_divergence())
            noises = [dp.m.make_gaussian(*space2, scale=math.sqrt(0.5 / own)) for own in amounts]
        queryable = dp.c.make_privacy_filter(odometer, d_in=1, d_out=limit)([3])
        admitted = 0
        for loss, noise in zip(losses, noises, strict=True):
            if not ours.admits(loss):
                with pytest.raises(dp.OpenDPException, match="exceed privacy budget"):
                    queryable(noise)
                break
            ours.charge(loss)
            queryable(noise)
            admitted += 1
        assert 0 < admitted < 40
