"""A forecaster fitted on shares, customers unlearnt from it, what its coefficients tell, and what is refused."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import unlearn
from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError, SingularHessianError
from unlearn.households import simulate_households, spread
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import rehearse
from unlearn.privacy.mpc.joint import compute
from unlearn.privacy.mpc.programs.kept import kept_input, receipt_of
from unlearn.privacy.mpc.programs.least_squares import fit, forecast, own_coefficients, remove

pytestmark = pytest.mark.extras
NAMES = ("north", "south", "west")
PROGRAMS = "unlearn.privacy.mpc.programs.least_squares"


class Made:
    """Rows of 3 public columns, and 12 customers in two loads at three parties."""

    def __init__(self, seed: int = 0, n: int = 60, per_party: int = 4) -> None:
        random = np.random.default_rng(seed)
        self.rows = np.column_stack([random.uniform(-1, 1, (n, 2)), np.ones(n)])
        self.ids = [f"{name} {at}" for name in NAMES for at in range(per_party)]
        self.loads = np.array([at % 2 for _ in NAMES for at in range(per_party)])
        self.series = random.uniform(0, 3, (len(self.ids), n))

    def inputs(self, without: tuple[str, ...] = ()) -> tuple[dict[str, Payload], dict[str, Any]]:
        own = {
            name: [i for i, one in enumerate(self.ids) if one.startswith(name) and one not in without] for name in NAMES
        }
        parts: dict[str, Payload] = {
            name: {"parts": own_coefficients(self.rows, self.series[at])} for name, at in own.items()
        }
        customers = {name: [self.ids[i] for i in at] for name, at in own.items()}
        return parts, {
            "run": secrets.token_hex(16),
            "customers": customers,
            "loads": {name: self.loads[at].tolist() for name, at in own.items()},
        }

    def theta(self, without: tuple[str, ...] = ()) -> np.ndarray:
        """By the normal equations of the pooled loads."""
        stays = np.array([one not in without for one in self.ids])
        target = np.stack([self.series[stays & (self.loads == b)].sum(axis=0) for b in (0, 1)], axis=1)
        found: np.ndarray = np.linalg.solve(self.rows.T @ self.rows, self.rows.T @ target).T
        return found

    def fitted(self, **public: Any) -> Payload:
        inputs, told = self.inputs()
        return rehearse(fit, inputs, {**told, **public})


def removed(done: Payload, *customers: str, **public: Any) -> Payload:
    asked = {"run": secrets.token_hex(16), "receipt": receipt_of(done), "customers": list(customers)}
    return rehearse(remove, dict.fromkeys(NAMES, kept_input(done)), {**asked, **public})


@pytest.mark.parametrize("seed", range(proof_count(20)))
def test_fitting_and_forgetting_give_the_model_that_never_had_the_customers(seed: int) -> None:
    made = Made(seed)
    done = made.fitted()
    np.testing.assert_allclose(done["theta"], made.theta(), rtol=1e-9, atol=1e-11)
    gone = ("south 1", "north 0")
    once = removed(removed(done, gone[0]), gone[1])
    np.testing.assert_allclose(once["theta"], made.theta(gone), rtol=1e-9, atol=1e-11)
    inputs, told = made.inputs(gone)
    never = rehearse(fit, inputs, told)
    for other in (never, removed(done, *gone)):  # one after another, together or never there: to the last bit
        np.testing.assert_array_equal(once["theta"], other["theta"])
        np.testing.assert_array_equal(once["load"], [0, 1])


def test_coefficients_are_off_by_half_a_step_for_each_customer_however_rows_are_conditioned() -> None:
    made = Made()
    made.rows[:, 1] = made.rows[:, 0] + 1e-5 * made.rows[:, 1]
    inputs, told = made.inputs()
    done = rehearse(fit, inputs, {**told, "step": 0.001})
    parts = np.concatenate([own["parts"] for own in inputs.values()])
    exact = np.stack([parts[made.loads == b].sum(axis=0) for b in (0, 1)])
    assert np.abs(done["theta"] - exact).max() <= 0.0005 * 6 * (1 + 1e-9)


def test_simulated_households_are_forgotten_and_priced_as_by_a_model_in_the_clear() -> None:
    meters = unlearn.hourly_meters(simulate_households(45, n_days=30))
    place = spread(meters.customer_ids, 14)
    data = unlearn.customer_loads(meters, place).scaled_to(np.full(14, 40.0))
    model = unlearn.fit_linear(data)
    rows = model.training_rows(data)
    phi = model.design_of(data, rows).numpy()
    loads = np.array([data.load_names.index(place[one]) for one in data.customer_ids])
    energy = np.zeros((len(loads), len(data.load_pu)))
    for where, kwh in data.readings_kwh():
        energy[where] = kwh
    series = energy[:, rows] * (data.mw_per_kwh[loads] / data.base_mva)[:, None]
    own = {name: np.arange(len(loads)) % 3 == at for at, name in enumerate(NAMES)}
    ids = np.array(data.customer_ids)
    public = {
        "run": secrets.token_hex(16),
        "customers": {name: ids[at].tolist() for name, at in own.items()},
        "loads": {name: loads[at].tolist() for name, at in own.items()},
        "least": 1,
    }
    parts: dict[str, Payload] = {name: {"parts": own_coefficients(phi, series[at])} for name, at in own.items()}
    done = rehearse(fit, parts, public)
    gone = [str(ids[5]), str(ids[6])]
    after = removed(done, *gone)["theta"]
    expected = unlearn.forget_customers(model, data, gone).model.head.numpy()
    assert np.linalg.norm(after - expected) <= 1e-9 * np.linalg.norm(expected)
    hours = np.arange(len(data.load_pu))[-6:]
    columns, true = model.design_of(data, hours).numpy(), torch.from_numpy(data.load_pu[hours])
    cost = unlearn.OperatingCost("ieee14")
    prices = [
        float(cost(torch.from_numpy(columns @ head.T).clamp_min(0), true).total.mean()) for head in (after, expected)
    ]
    assert prices[0] == pytest.approx(prices[1], rel=1e-6)


def test_coefficients_before_and_after_tell_the_fitted_load_of_one_who_leaves_alone() -> None:
    """And of two who leave together only the sum; so fewer than agreed are not opened."""
    made = Made(per_party=6)
    done = made.fitted()
    alone = made.rows @ (done["theta"] - removed(done, "west 3")["theta"])[1]
    own = made.series[made.ids.index("west 3")]
    fitted = made.rows @ np.linalg.lstsq(made.rows, own, rcond=None)[0]
    np.testing.assert_allclose(alone, fitted, atol=1e-9)
    assert np.corrcoef(alone, own)[0, 1] == pytest.approx(np.corrcoef(fitted, own)[0, 1])
    with pytest.raises(ProtocolError, match="at least 2 who leave a load together"):
        removed(done, "west 3", least_leaving=2)
    both = made.rows @ (done["theta"] - removed(done, "west 3", "north 1", least_leaving=2)["theta"])[1]
    assert np.abs(both - fitted).max() > 0.1


def test_forecasts_are_opened_of_a_model_that_nobody_has_seen() -> None:
    made = Made()
    done = made.fitted(opened=False)
    assert "theta" not in done
    for chosen, total in ((made.rows, True), (made.rows[:2], False)):
        asked = {"receipt": receipt_of(done), "rows": chosen.tolist(), "total": total}
        found = rehearse(forecast, dict.fromkeys(NAMES, kept_input(done)), asked)["forecast"]
        expected = chosen @ made.theta().T
        np.testing.assert_allclose(found, expected.sum(axis=1) if total else expected, atol=1e-8)
    asked = {"receipt": receipt_of(done), "rows": made.rows.tolist(), "total": False}
    with pytest.raises(ProtocolError, match="span fewer than 3 columns"):
        rehearse(forecast, dict.fromkeys(NAMES, kept_input(done)), asked)


@pytest.mark.parametrize(
    "rows", [[[2.0**29, 0, 0], [2.0**29, 2.0**-32, 0], [0, 0, 1]], [[1e8, 0, 0], [0, 1e-9, 0], [0, 0, 1e-9]]]
)
def test_small_numbers_beside_large_ones_open_no_coefficients(rows: list[list[float]]) -> None:
    """Floats see fewer columns in these rows than exact sums tell."""
    done = Made().fitted(opened=False)
    asked = {"receipt": receipt_of(done), "rows": rows, "total": False}
    with pytest.raises(ProtocolError, match="span fewer than 3 columns"):
        rehearse(forecast, dict.fromkeys(NAMES, kept_input(done)), asked)


def test_the_total_of_one_load_is_that_load() -> None:
    made = Made()
    made.loads[:] = 0
    done = made.fitted(opened=False)
    for rows in (made.rows[:2], made.rows):
        asked = {"receipt": receipt_of(done), "rows": rows.tolist()}
        if len(rows) == 2:
            assert rehearse(forecast, dict.fromkeys(NAMES, kept_input(done)), asked)["forecast"].shape == (2,)
            continue
        with pytest.raises(ProtocolError, match="total of several loads"):
            rehearse(forecast, dict.fromkeys(NAMES, kept_input(done)), asked)


def test_noise_of_all_parties_has_the_promised_size(bits: Callable[[int], None]) -> None:
    bits(3)
    made = Made()
    noise = {"clip": 100.0, "noise_multiplier": 0.5}
    errors = [made.fitted(noise=noise)["theta"] - made.theta() for _ in range(60)]
    # Two of three shares alone have a deviation of 50: all three of 50 √1.5.
    assert np.std(errors) == pytest.approx(50 * math.sqrt(1.5), rel=0.2)
    done = made.fitted(noise=noise, opened=False)
    with pytest.raises(ProtocolError, match="fit without noise"):
        rehearse(forecast, dict.fromkeys(NAMES, kept_input(done)), {"receipt": receipt_of(done), "rows": [[1, 0, 0]]})


def test_with_noise_customers_are_cut_to_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.dp.noise.NoiseSource.discrete_gaussians", lambda self, n, variance: [0] * n)
    made = Made()
    inputs, told = made.inputs()
    inputs["north"]["parts"] = inputs["north"]["parts"] * 1e3
    found = rehearse(fit, inputs, {**told, "noise": {"clip": 5.0, "noise_multiplier": 1.0}})["theta"]
    parts = np.concatenate([own["parts"] for own in inputs.values()])
    cut = parts * np.minimum(1, 5 / np.linalg.norm(parts, axis=1, keepdims=True))
    expected = np.stack([cut[made.loads == b].sum(axis=0) for b in (0, 1)])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("customers", "count"), [(["nobody"], 1), (["west 3", "west 3"], 0), ([], 0)])
def test_who_was_never_added_cannot_be_taken_away(customers: list[str], count: int) -> None:
    with pytest.raises(ProtocolError, match=f"got {count} of {len(customers)} that are not among"):
        removed(Made().fitted(), *customers)


def test_nobody_is_taken_away_twice() -> None:
    done = Made(per_party=6).fitted()
    after = removed(done, "west 3")
    with pytest.raises(ProtocolError, match="have left"):
        removed(after, "west 3")
    asked = {"run": secrets.token_hex(16), "receipt": receipt_of(after), "customers": ["west 3"]}
    with pytest.raises(InputError, match="another fit or removal"):  # shares from before
        rehearse(remove, dict.fromkeys(NAMES, kept_input(done)), asked)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"run": "short"}, InputError, "run: expected a name of at least 16"),
        ({"step": 0}, InputError, "0 < step <= largest"),
        ({"largest": 1e-3}, InputError, "parts|values: expected at most"),
        ({"least": 7}, ProtocolError, "at least 7 of every load"),
        ({"noise": {"clip": 1.0, "noise_multiplier": 1.0, "colluding": 3}}, InputError, "fewer than least_members"),
        ({"loads": {name: [0] for name in NAMES}}, ProtocolError, "north: expected a name and a load of each"),
    ],
)
def test_public_parameters_that_do_not_fit_are_refused(change: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Made().fitted(**change)


def test_a_customer_of_two_parties_and_other_columns_are_refused() -> None:
    inputs, told = Made().inputs()
    twice = {**told["customers"], "west": told["customers"]["south"]}
    with pytest.raises(ProtocolError, match="some twice"):
        rehearse(fit, inputs, {**told, "customers": twice})
    inputs["west"]["parts"] = inputs["west"]["parts"][:, :2]
    with pytest.raises(ProtocolError, match="one number of columns"):
        rehearse(fit, inputs, told)


def test_the_last_of_a_load_stay() -> None:
    done = Made().fitted(least=1)
    with pytest.raises(ProtocolError, match="some who stay in every load"):
        removed(done, *[f"{name} {at}" for name in NAMES for at in (0, 2)])


def test_a_party_that_knows_all_customers_of_a_load_but_few_is_not_shown_theirs() -> None:
    inputs, told = Made(per_party=4).inputs()
    loads = {**told["loads"], "south": [0, 0, 0, 0], "west": [0, 0, 0, 1]}  # north has two of load 1, west the third
    with pytest.raises(ProtocolError, match="a party with some does not know"):
        rehearse(fit, inputs, {**told, "loads": loads})
    loads = {**told["loads"], "north": [0, 1, 1, 1], "south": [0, 0, 0, 0], "west": [0, 0, 0, 0]}
    assert "theta" in rehearse(fit, inputs, {**told, "loads": loads})  # a load of north alone, which it opens


def test_shares_that_are_none_are_refused() -> None:
    done = Made().fitted()
    asked = {"run": secrets.token_hex(16), "receipt": receipt_of(done), "customers": ["west 3"]}
    with pytest.raises(InputError, match="got something else"):
        rehearse(remove, {name: {"kept": done["kept"]} for name in NAMES}, asked)
    with pytest.raises(InputError, match="expected shares of shape"):
        rehearse(remove, {name: {**kept_input(done), "kept": done["kept"][:2]} for name in NAMES}, asked)


def test_columns_that_depend_on_each_other_are_refused() -> None:
    with pytest.raises(SingularHessianError, match="got rank 1"):
        own_coefficients(np.ones((5, 2)), np.ones((1, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("n_parties", [3, 5])
def test_parties_in_processes_of_their_own_fit_and_forget(n_parties: int) -> None:
    made = Made(per_party=6)
    inputs, told = made.inputs()
    inputs |= {f"helper {at}": {} for at in range(n_parties - 3)}
    first = compute(f"{PROGRAMS}:fit", inputs, told)
    kept = {name: kept_input(first.results[name]) for name in inputs}
    assert len({own["kept"].tobytes() for own in kept.values()}) == n_parties  # a share each, not the secret
    asked = {"run": secrets.token_hex(16), "receipt": receipt_of(first.results["north"]), "customers": ["south 2"]}
    second = compute(f"{PROGRAMS}:remove", kept, asked)
    for name in inputs:
        np.testing.assert_allclose(first.results[name]["theta"], made.theta(), atol=1e-9)
        np.testing.assert_allclose(second.results[name]["theta"], made.theta(("south 2",)), atol=1e-9)
