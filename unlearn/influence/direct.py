"""The dense way: form the Hessian, damp it, invert it once."""

from __future__ import annotations

import os
import warnings

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from unlearn.errors import InputError, SingularHessianError
from unlearn.influence.base import BaseInfluenceModule
from unlearn.influence.risk import BaseObjective
from unlearn.linalg import dense_matrix, spectrum_and_limit
from unlearn.linalg.spectrum import GIVE_DAMPING, NO_CURVATURE


class AutogradInfluenceModule(BaseInfluenceModule):
    """Inverse-Hessian products with the dense inverse of `∇²L + damp I`; exact, for some thousand parameters.

    Attributes:
        damp: λ in use.
        inverse_hess: `(∇²L + λI)⁻¹`, shape (P, P), factorised in float64 and returned in the model's dtype.
        positive_definite: whether the damped Hessian is.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: BaseObjective,
        train_loader: DataLoader,
        test_loader: DataLoader | None,
        device: torch.device | str,
        damp: float | str,
        check_eigvals: bool = False,
        *,
        gnh: bool = False,
        memory_mb: float = 512.0,
    ) -> None:
        """Form and invert the Hessian at the model's parameters.

        Args:
            model: trained model.
            objective: its losses.
            train_loader: training rows.
            test_loader: test rows, or None.
            device: where to compute.
            damp: λ >= 0, or "auto", see `damping_choice`.
            check_eigvals: refuse a damped Hessian that is not positive definite. Without it, an indefinite
                one is refused only if undamped, else inverted with a warning.
            gnh: the Gauss-Newton matrix instead of the Hessian.
            memory_mb: what intermediate results may take.

        Raises:
            ValueError: not positive definite, or too many parameters for a dense matrix.
            SingularHessianError: no inverse.
        """
        super().__init__(model, objective, train_loader, test_loader, device, memory_mb=memory_mb)
        size = self._flat.size
        needed, physical = 3 * 8 * size**2, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > physical:
            raise InputError(
                f"model: the dense Hessian of {size} parameters takes {needed / 2**30:.0f} GiB, this machine has "
                f"{physical / 2**30:.0f}; use CGInfluenceModule."
            )
        self.gnh = gnh
        self.damp = self._damping(damp, gnh)
        # In float32, rounding leaves the two triangles a little different.
        hessian = dense_matrix(self.operator(gnh), self._flat.dtype).double()
        damped = 0.5 * (hessian + hessian.T) + self.damp * torch.eye(size, dtype=torch.float64, device=hessian.device)
        spectrum, limit = spectrum_and_limit(damped, self.risk.samples.size, torch.finfo(self._flat.dtype).eps)
        self.positive_definite = float(spectrum[0]) > limit
        if self.positive_definite:
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        else:
            self._refuse_or_warn(spectrum, limit, check_eigvals)
            inverse = torch.linalg.inv(damped)
        self.inverse_hess = inverse.to(self._flat.dtype)

    def inverse_hvp(self, vec: Tensor) -> Tensor:
        """`(∇²L + λI)⁻¹ vec`, shape (P,) or (P, k)."""
        return self.inverse_hess @ self._require_vector(vec).to(self._flat.dtype)

    def inverse_hvps(self, vectors: Tensor) -> Tensor:
        return self.inverse_hvp(vectors)

    def _refuse_or_warn(self, spectrum: Tensor, limit: float, check_eigvals: bool) -> None:
        smallest, largest = float(spectrum[0]), float(spectrum[-1])
        singular = float(spectrum.abs().min()) <= limit
        indefinite = smallest < -limit
        kind = "not positive definite" if indefinite else "singular to rounding"
        why = "" if indefinite else f" (up to {limit:.2g} is rounding error: parameters depend on each other)"
        start = "Train to a minimum, pass" if indefinite else "Remove repeated or dependent features, pass"
        message = (
            f"the Hessian with damping {self.damp:g} is {kind}: its eigenvalues run from {smallest:.3g} to "
            f'{largest:.3g}{why}. {start} damp="auto" or a damp above {self.damp + limit - smallest:.2g}'
            f"{', or use the Gauss-Newton matrix (gnh=True)' if indefinite and not self.gnh else ''}."
        )
        if not largest and not smallest:
            message = f"the Hessian is zero, and damp is 0. {NO_CURVATURE} {GIVE_DAMPING}"
        if singular and not check_eigvals:
            raise SingularHessianError(message)
        if check_eigvals or not self.damp:
            raise InputError(message)
        warnings.warn(f"{message} Scores at a saddle point mean little.", stacklevel=4)
