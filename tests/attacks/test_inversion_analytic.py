"""What algebra gives, against the rows that made an update."""

import numpy as np
import pytest
import torch

from tests.attacks.test_gradient_inversion import SHAPE, TARGET, WINDOW, loads, network
from unlearn.attacks import UpdateRule, WindowShapes, make_update
from unlearn.attacks.inversion_analytic import ratio_windows, recover_targets, residual_sum
from unlearn.attacks.member_update import Loss, MemberUpdate, squared_error
from unlearn.errors import InputError


def seen_of(n: int, rule: UpdateRule, loss: Loss = squared_error) -> tuple[MemberUpdate, torch.Tensor]:
    windows, targets = loads(n)
    model = network()
    made_of = MemberUpdate(model, loss, WindowShapes(n // rule.members, WINDOW, TARGET), rule)
    return made_of, made_of.checked(make_update(model, windows, targets, rule, loss=loss))


@pytest.mark.parametrize("rule", [UpdateRule(), UpdateRule(members=2), UpdateRule(learning_rate=0.7)])
def test_residuals_add_up_and_targets_of_known_windows_are_exact(rule: UpdateRule) -> None:
    made_of, flat = seen_of(4, rule)
    windows, targets = loads(4)
    residuals = network()(torch.from_numpy(windows)).detach().numpy() - targets
    np.testing.assert_allclose(residual_sum(made_of, flat), residuals.sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(recover_targets(made_of, flat, windows), targets, atol=1e-8)


def test_of_more_rows_than_the_last_layer_has_inputs_the_sum_of_targets_is_exact() -> None:
    made_of, flat = seen_of(20, UpdateRule())
    windows, targets = loads(20)
    found = recover_targets(made_of, flat, windows)
    assert found is not None
    np.testing.assert_allclose(found.sum(axis=0), targets.sum(axis=0), atol=1e-8)


@pytest.mark.parametrize(
    ("rule", "loss"),
    [
        (UpdateRule(learning_rate=0.1, epochs=2), squared_error),
        (UpdateRule(clip=1e-3), squared_error),
        (UpdateRule(members=2, clip=1e9), squared_error),
        (UpdateRule(clip=1.0, noise_multiplier=1.0), squared_error),
        (UpdateRule(), torch.nn.functional.l1_loss),
    ],
)
def test_no_residuals_are_read_where_the_update_shows_none(rule: UpdateRule, loss: Loss) -> None:
    made_of, flat = seen_of(2, rule, loss)
    assert residual_sum(made_of, flat) is None
    assert recover_targets(made_of, flat, loads(2)[0]) is None


def test_mixtures_of_rows_are_not_taken_for_rows() -> None:
    assert len(ratio_windows(*seen_of(4, UpdateRule()))) == 0
    assert len(ratio_windows(*seen_of(1, UpdateRule(clip=1.0, noise_multiplier=1.0)))) == 0


def test_a_first_layer_that_does_not_see_the_window_gives_none() -> None:
    convolution = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 6)), torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(36, 6)
    ).double()
    made_of = MemberUpdate(convolution, squared_error, SHAPE, UpdateRule())
    flat = made_of.checked(make_update(convolution, *loads(1)))
    assert len(ratio_windows(made_of, flat)) == 0
    np.testing.assert_allclose(recover_targets(made_of, flat, loads(1)[0]), loads(1)[1], atol=1e-8)


def test_windows_of_another_shape_are_refused() -> None:
    made_of, flat = seen_of(2, UpdateRule())
    with pytest.raises(InputError, match="windows"):
        recover_targets(made_of, flat, loads(3)[0])
    with pytest.raises(InputError, match="windows"):
        recover_targets(made_of, flat, loads(2)[0] * np.nan)
