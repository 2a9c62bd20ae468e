"""The privacy loss of a removal as it is, without the assumption that the residual is independent of the noise.

Both a model after removals and one that is fitted anew to what remains are smooth images of the noise b, so their
densities can be compared at the very model that came out. With w₀ the fitted model, w_k the model after the k-th
removal, and `b̃ = −∇L_R(w_K)` the noise with which fitting anew would have given w_K,

    Λ = (‖b̃‖² − ‖b‖²) / 2σ² + log det H_T(w₀) − Σ_k log |det ∂w_k/∂w_{k−1}| − log det H_R(w_K),

`∂w_k/∂w_{k−1} = H_R⁻¹ (H_R + H_U − T)` with `T = Σ_R ℓ'''_i s_i x_i x_i'`, all at w_{k−1}, s the step's shift of each
forecast. Λ is exact wherever the map from b to w_K is one to one, as it is for small steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import FloatArray, require_positive
from unlearn.errors import InputError
from unlearn.unlearning.certified import CertifiedHead
from unlearn.unlearning.certified_newton import gradient, hessian


def privacy_loss(head: CertifiedHead, requests: Sequence[ArrayLike]) -> tuple[CertifiedHead, float]:
    """Remove rows, request by request, and compare densities with those of a head fitted anew.

    Over many draws of the noise, `mean(max(0, 1 − exp(ε − Λ)))` estimates the δ that goes with ε. It is for audits:
    Λ depends on the secret noise, so a single one is not to be published.

    >>> import numpy as np
    >>> design = np.random.default_rng(0).normal(size=(200, 2)) / 3
    >>> head = CertifiedHead.fit(design, design @ [[1.0], [2.0]], "pseudo_huber", l2=1.0, sigma=0.1)
    >>> after, loss = privacy_loss(head, [[0], [5, 6]])
    >>> len(after.rows), abs(loss) < 1.0
    (197, True)

    Args:
        head: fitted, and nothing removed since.
        requests: rows of each removal, as `CertifiedHead.forget` takes them; the budget is not asked.

    Returns:
        The head after the last removal, and Λ: the log of how much more likely it is than by fitting anew.

    Raises:
        InputError: a head without noise, or one that has forgotten since it was fitted.
    """
    require_positive("sigma of the head", head.sigma)
    if head.requests:
        raise InputError(
            f"head: expected one just fitted, got one after {head.requests} removals. Call head.retrained() first."
        )
    change = sum(_log_det(_hessians(head, head.weights)))
    now = head
    for rows in requests:
        after = now.stepped(rows)
        change -= _log_det_of_step(now, after)
        now = after
    change -= sum(_log_det(_hessians(now, now.weights)))
    # The noise with which the model would be an exact minimiser: of the fit, what its solver has left counts, too.
    first, last = (_noise_of(one) for one in (head, now))
    return now, float(((last**2).sum() - (first**2).sum()) / (2 * head.sigma**2) + change)


def _noise_of(head: CertifiedHead) -> FloatArray:
    nothing = np.zeros_like(head.perturbation)
    return -gradient(head.weights, head.design, head.target, head.loss, head.l2, nothing)


def _hessians(head: CertifiedHead, at: FloatArray) -> list[FloatArray]:
    """Hessians over the rows of a head, at some weights, by output."""
    return [hessian(w, head.design, head.target[:, b], head.loss, head.l2) for b, w in enumerate(at)]


def _log_det(matrices: Sequence[FloatArray]) -> list[float]:
    return [float(np.linalg.slogdet(matrix)[1]) for matrix in matrices]


def _log_det_of_step(before: CertifiedHead, after: CertifiedHead) -> float:
    """Σ over outputs of log |det ∂w⁺/∂w|."""
    W, X = before.weights, after.design
    shift = X @ (after.weights - W).T
    bend = before.loss.third(X @ W.T, after.target) * shift
    rest, whole = _hessians(after, W), _hessians(before, W)
    bent = [full - (X * bend[:, b : b + 1]).T @ X for b, full in enumerate(whole)]
    return sum(_log_det(bent)) - sum(_log_det(rest))
