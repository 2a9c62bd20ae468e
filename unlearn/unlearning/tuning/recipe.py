"""The recipe of a tuning: what a tuned model remembers, so that it can be tuned anew each time that it forgets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from unlearn.checks import require_count
from unlearn.criteria import Criterion, Weighted, fresh, grids_of, make_criterion
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.unlearning.tuning.methods import FOLDS, TUNINGS, TuningMethod


@dataclass(frozen=True)
class Tuning:
    """A recipe: how a forecaster is tuned, and tuned anew each time that it forgets.

    Attributes:
        criterion: what is to be small: a name, or a criterion such as `Weighted({...})`.
        method: one of `TUNINGS` by name, or an object such as `Weights(l1_budget=0.1)`.
        grid: what a criterion by name is priced on, if it is priced.
        folds: parts of the weeks by which hyper-parameters are chosen, and the tuning is evaluated on weeks that it did
            not see; 0 leaves that out, for methods whose hyper-parameters are all given.
    """

    criterion: str | Criterion = "cost"
    method: str | TuningMethod = "scale"
    grid: OperatingCost | GridCase | str | None = None
    folds: int = FOLDS

    def __post_init__(self) -> None:
        if self.folds != 0 and require_count("tune: folds", self.folds) < 2:
            raise InputError("tune: folds: expected at least 2, or 0 for none, got 1.")

    def made(self) -> tuple[Criterion, TuningMethod]:
        """Criterion and method as objects.

        Raises:
            InputError: an unknown name, a criterion on a grid without one, or something else than a method.
        """
        method = TUNINGS.make(self.method)
        if isinstance(method, type) or not isinstance(method, TuningMethod):
            raise InputError(
                f"method: expected one of {', '.join(TUNINGS)}, or an object such as Weights(l1_budget=0.1); got "
                f"{method!r}."
            )
        return make_criterion(self.criterion, self.grid), method

    def fresh(self) -> Tuning:
        """The same on a grid that has priced nothing yet, as a model keeps it: regions tell which hours were priced."""
        criterion = self.criterion if isinstance(self.criterion, str) else fresh(self.criterion)
        grid = self.grid.fresh() if isinstance(self.grid, OperatingCost) else self.grid
        return replace(self, criterion=criterion, grid=grid)

    def said(self) -> dict[str, object]:
        """The recipe as plain values, for a model's card."""
        criterion, method = self.made()
        parts = getattr(criterion, "parts", None)
        priced = next(grids_of(criterion), None)
        return {
            "method": {"name": method.name, **plain(method)},
            "criterion": criterion.name if parts is None else {part.name: weight for part, weight in parts.items()},
            "grid": None if priced is None else {"case": priced.case.name, "fingerprint": priced.fingerprint},
            "folds": self.folds,
        }


def _criterion_of(said: str | dict[str, float], grid: str | None) -> str | Criterion:
    if isinstance(said, str):
        return make_criterion(said, grid)
    return Weighted({make_criterion(name, grid): weight for name, weight in said.items()})


def plain(method: TuningMethod) -> dict[str, object]:
    """Options of a method as JSON has them."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(method).items()}  # type: ignore[call-overload]


def recipe_of(model: Forecaster) -> Tuning | None:
    """The recipe of a tuned model, as it was given or as its card says it; None if it is not tuned.

    Raises:
        InputError: a model from a file whose criterion, method or grid cannot be made from its card.
    """
    if not model.is_tuned or isinstance(model.recipe, Tuning):
        return model.recipe if isinstance(model.recipe, Tuning) else None
    said = model.card.tuned
    try:
        options = {name: tuple(v) if isinstance(v, list) else v for name, v in said["method"].items() if name != "name"}
        grid = said["grid"]["case"] if said["grid"] else None
        method = TUNINGS[said["method"]["name"]](**options)
        recipe = Tuning(_criterion_of(said["criterion"], grid), method, None, said["folds"])
        if recipe.said() == {name: said[name] for name in recipe.said()}:
            return recipe
        raise InputError("it gives another recipe than the one on the card")
    except (InputError, KeyError, TypeError) as error:
        raise InputError(
            f"model: the recipe that it was tuned by cannot be made from its card ({error}). Pass tune=Tuning(...) "
            "with your criterion, method and grid, or model.untuned()."
        ) from error
