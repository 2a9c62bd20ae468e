"""Everything in a forecaster that was fitted to rows: did these hold what is removed, and is it fitted anew?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import BoolArray, FloatArray, IntArray
from unlearn.data import LoadDataset, StandardScaler, distinct_columns
from unlearn.forecasters import Forecaster
from unlearn.forecasters.base import FROZEN, HEAD
from unlearn.services.base import CUSTOMERS, Change, Constant
from unlearn.services.evidence.numbers import residual_gradient, sums_gap

#: Scopes of `FittedConstant.fitted_on` that are not training rows.
_ALL, _CORE, _ELSEWHERE = "all", "core", "another data set"
#: Names in model cards of what is judged by more than whether it is declared.
_COLUMNS, _SCALER, _SCALE, _WHOLE = "choice of columns", "feature scaler", "load scale", "network and its scalers"
#: Parts that look at features alone, which hold no readings unless lags do.
_OF_FEATURES = (_COLUMNS, _SCALER)
#: Relative distance from what remaining data gives that counts as rounding.
EXACTLY = 1e-8
#: Relative difference of means and standard deviations of the same rows.
_ROUNDING = 1e-10


def constants(model: Forecaster, after: Forecaster, change: Change) -> tuple[Constant, ...]:
    """What a forecaster has of rows, and what forgetting made of each part: compared, and computed anew from the data.

    >>> import unlearn
    >>> from unlearn.services.base import HOURS
    >>> data = unlearn.load_dataset("synthetic", n_loads=2, n_hours=1000)
    >>> model = unlearn.fit_linear(data)
    >>> done = unlearn.forget(model, data, range(48))
    >>> found = constants(model, done.model, Change(HOURS, data, data, rows=np.arange(48)))
    >>> [(own.name, own.saw, own.refitted) for own in found[:3]]
    [('head', True, True), ('kept sums', True, True), ('choice of columns', True, False)]

    Args:
        model: the forecaster before.
        after: the forecaster that forgot.
        change: what was removed.

    Returns:
        Head, kept sums and tuned head, where there are any; every constant that the model's card names; a regulariser.
        What preprocessing of one's own fitted counts as having seen what lies in its rows.

    Raises:
        MismatchError: a model is not of the data set that it goes with.
    """
    touched = _touched(change)
    parts = model.parts_of(change.before).numpy()
    learnt = touched & (parts == HEAD)
    learnt[parts == HEAD] &= (model.weights > 0).any(dim=1).numpy()
    whole = not (parts == HEAD).any()  # trained as a whole: the head learnt from what the network did
    found = _of_head(model, after, bool((touched & (parts == FROZEN)).any() if whole else learnt.any()), change.after)
    found += [_declared(own, model, after, change, touched, parts) for own in model.card.fitted]
    if model.card.history:
        saw = bool((touched & (parts == FROZEN)).any())
        again = after.card.history != model.card.history
        found.append(Constant("training record", saw, saw and again, "Losses by epoch, from when the network trained."))
    if model.card.l2:
        said = f"l2 = {model.card.l2:g}, kept as it was given; if these rows were looked at to choose it, choose anew."
        found.append(Constant("regulariser", False, False, said))
    return tuple(found)


def _touched(change: Change) -> BoolArray:
    """Rows of which something is removed, shape (N,)."""
    n = len(change.before.timestamps)
    if len(change.rows):
        return np.isin(np.arange(n), change.rows)
    if change.before.load_names != change.after.load_names or n != len(change.after.timestamps):
        return np.ones(n, dtype=bool)
    return np.asarray((change.before.load_mw != change.after.load_mw).any(axis=1))


def _of_head(model: Forecaster, after: Forecaster, saw: bool, dataset: LoadDataset) -> list[Constant]:
    """The head, its sums, and the tuned head above it; whether the first two are those of what remains is measured."""
    whole = not len(after.training_rows(dataset))
    moved = model.head.shape != after.head.shape or not torch.equal(model.head, after.head)
    slope = 0.0 if whole else residual_gradient(after, dataset)
    said = "The minimum over what remains: its gradient, computed from the data, is {:.1e} (relative)."
    found = [_measured("head", saw, moved, slope, said)]
    if model.statistics is not None:
        gap = None if whole else sums_gap(after, dataset)
        if gap is None:
            found.append(Constant("kept sums", saw, True, "Dropped."))
        else:
            moved = not _equal(*(one.statistics.to_tensors() for one in (model, after) if one.statistics is not None))
            said = "Those of what remains: computed anew from the data, they differ by {:.1e} (relative)."
            found.append(_measured("kept sums", saw, moved, gap, said))
    if model.is_tuned:
        again = not after.is_tuned or not _equal({"": model.tuned}, {"": after.tuned})
        how = "Dropped: forecasts come from the least-squares head."
        if after.is_tuned:
            how = _AS_IT_WAS[saw]
            if again:
                how = "Tuned anew, hyper-parameters chosen anew, from what remains. The recipe is kept as it was given."
        found.append(Constant("tuned head", saw, again, how))
    return found


def _measured(name: str, saw: bool, moved: bool, off: float, said: str) -> Constant:
    """A part that is compared with what it is to be, relatively; `said` is what is said where it is."""
    if not moved:
        return Constant(name, saw, False, _AS_IT_WAS[saw])
    if off > EXACTLY:
        return Constant(name, saw, False, f"Changed, but not what the rest gives: {off:.1e} (relative) are left.")
    return Constant(name, saw, True, said.format(off))


#: What is said of a part that did not change, by whether it saw what is removed.
_AS_IT_WAS = {
    True: "As it was: what is removed is still in it.",
    False: "As it was: nothing of what is removed was in it.",
}


def _declared(
    own: Mapping[str, str], model: Forecaster, after: Forecaster, change: Change, touched: BoolArray, parts: IntArray
) -> Constant:
    """A constant that the card names."""
    name, scope = own["name"], own["fitted_on"]
    if scope.startswith(_ELSEWHERE):
        return _from_elsewhere(name, own, model, after)
    rows = np.arange(len(parts))
    if scope.startswith(_CORE) or name == _WHOLE:
        rows = np.flatnonzero(parts == FROZEN)
    elif not scope.startswith(_ALL):
        rows = change.before.split.train
    saw = bool(touched[rows].any())
    if name in _OF_FEATURES and change.subject == CUSTOMERS:
        # Calendar and weather are nobody's; lags hold readings.
        before, now = change.before.features[rows], change.after.features[rows]
        saw = before.shape != now.shape or bool((before != now).any())
        if not saw:
            return Constant(name, False, False, "It looks at calendar and weather, which hold no readings.")
    what = f"{own['description']}; fitted on rows: {scope}."
    if not saw:
        return Constant(name, False, False, f"None of its rows held what is removed. {_capital(what)}")
    if name == _SCALE and len(change.after.load_names) < len(change.before.load_names):
        return Constant(name, True, True, "Each load has a factor of its own; those of withdrawn loads went with them.")
    refitted = _fitted_anew(name, own, model, after, change)
    if refitted:
        return Constant(name, True, True, f"Fitted anew to what remains: {what}")
    how = "Kept as it was, and what is removed was in its rows"
    if name == _COLUMNS and _same_columns(after, change):
        how += "; the remaining rows give the very same"
    return Constant(name, True, False, f"{how}: {what}")


def _from_elsewhere(name: str, own: Mapping[str, str], model: Forecaster, after: Forecaster) -> Constant:
    """An extractor that was fitted to another data set."""
    origin = model.card.settings.get("extractor_from", {})
    known = origin.get("customers") is not None
    sure = "whose customers are others" if known else "which does not say whose data it is: that was taken as given"
    changed = _changed(("extractor.", "scaler."), model, after)
    return Constant(name, False, changed, f"Fitted on {own['fitted_on']}, {sure}.")


def _fitted_anew(name: str, own: Mapping[str, str], model: Forecaster, after: Forecaster, change: Change) -> bool:
    """Whether a constant differs between both models, or goes with one that does."""
    if name == _SCALE:
        before, now = (getattr(data, "mw_per_kwh", None) for data in (change.before, change.after))
        if before is not None and now is not None:
            return not np.array_equal(before, now)
    if name in _OF_FEATURES and model.design_fitted_anew:
        scaled = _same_scaler(after, change)
        if name == _SCALER:
            return scaled
        # A choice that is the same may have been kept; the scaler is fitted anew with it.
        return _same_columns(after, change) and (scaled or model.column_names() != after.column_names())
    if "extractor" in name or "network" in name:
        return _changed(("extractor.",), model, after)
    return own not in after.card.fitted


def _remaining(after: Forecaster, change: Change) -> FloatArray:
    """Features of training rows of which any measurement remains, shape (m, B, F)."""
    rows = after.training_rows(change.after)
    return change.after.features[rows[~after.forgotten.all(dim=1).numpy()]]


def _same_columns(after: Forecaster, change: Change) -> bool:
    """Whether what remains gives the very columns that a model has."""
    own = [tuple(column) for column in after.card.settings.get("columns", ())]
    return own == [tuple(column) for column in distinct_columns(_remaining(after, change))]


def _same_scaler(after: Forecaster, change: Change) -> bool:
    """Whether what remains gives the very scale that a model has, up to rounding."""
    state, columns = after.state_dict(), after.card.settings.get("columns", ())
    if not columns:
        return False
    loads, kinds = zip(*columns, strict=True)
    fresh = StandardScaler.fit(_remaining(after, change)[:, list(loads), list(kinds)])
    if state["scaler.std"].shape != fresh.std.shape:
        return False
    return torch.allclose(state["scaler.std"], fresh.std, rtol=_ROUNDING, atol=0.0) and bool(
        ((state["scaler.mean"] - fresh.mean).abs() <= _ROUNDING * (fresh.std + fresh.mean.abs())).all()
    )


def _changed(prefixes: tuple[str, ...], model: Forecaster, after: Forecaster) -> bool:
    """Whether any of the named tensors of two models differ."""
    states = [
        {name: value for name, value in one.state_dict().items() if name.startswith(prefixes)} for one in (model, after)
    ]
    return not _equal(*states)


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether tensors are the same by name, to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
