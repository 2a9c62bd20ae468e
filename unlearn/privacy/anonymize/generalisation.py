"""k-anonymity and l-diversity of a table of households by full-domain generalisation, with the least loss.

Attributes that an attacker may know of a household, quasi-identifiers, are made coarser until each row is the same in
all of them as k − 1 others (Samarati 2001; Sweeney 2002), and until each such class has l values of what shall stay
unknown (Machanavajjhala et al. 2007). All rows have an attribute at the same level; rows in classes that are still too
small may be left out, up to a share.

Neither is a guarantee: what an attacker knows beside the attributes in the table, and what several releases tell
together, are not covered.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, IntArray, require_choice, require_count, require_not_negative, short_repr
from unlearn.errors import InputError
from unlearn.privacy.anonymize.hierarchies import Hierarchy
from unlearn.privacy.anonymize.lattice import Levels, Scored, least_loss

logger = logging.getLogger(__name__)

#: What l counts: values in a class, or the number of equally frequent values that are as uncertain (entropy).
DIVERSITIES = ("distinct", "entropy")
#: Nodes of a lattice that are searched at most.
MOST_NODES = 1_000_000


@dataclass(frozen=True)
class Losses:
    """What a generalisation costs.

    Attributes:
        certainty: normalised certainty penalty (Xu et al. 2006): mean over rows and attributes of the share of what is
            told apart that a label loses; 1 for a row that is left out. 0 is none, 1 all. The search minimises it.
        discernibility: discernibility metric (Bayardo and Agrawal 2005): sum over rows of the rows that are the same,
            or of all rows for one that is left out.
        class_size: rows per class, over k (LeFevre et al. 2005): 1 is the best.
        suppressed: share of rows that are left out.
    """

    certainty: float
    discernibility: int
    class_size: float
    suppressed: float


@short_repr
@dataclass(frozen=True, eq=False)
class Generalised:
    """A table in which each row is the same as at least k − 1 others.

    Attributes:
        table: quasi-identifiers as coarser labels, then the sensitive column; kept rows in their order, index 0, 1, ...
        levels: level of each quasi-identifier.
        kept: positions of the rows in the source, shape (n_kept,); not to be given away.
        suppressed: positions of the rows that are left out; not to be given away.
        losses: what it costs.
        k: least size of a class, as asked.
        l: least diversity of a class, as asked.
        examined: nodes of the lattice that were examined, of `nodes`.
        nodes: in the lattice.
    """

    table: pd.DataFrame
    levels: Mapping[str, int]
    kept: IntArray
    suppressed: IntArray
    losses: Losses
    k: int
    l: float  # noqa: E741 (the letter of the paper)
    examined: int
    nodes: int


def k_anonymous(
    table: pd.DataFrame,
    hierarchies: Mapping[str, Hierarchy],
    k: int,
    sensitive: str | None = None,
    l: float = 1,  # noqa: E741 (the letter of the paper)
    diversity: str = DIVERSITIES[0],
    most_suppressed: float = 0.05,
) -> Generalised:
    """Generalise a table to k-anonymity and l-diversity with the least loss that full-domain generalisation can have.

    The search is exact: a node that fails rules out all below it, first with few attributes at a time, as in Incognito
    (LeFevre et al. 2005); the others come in the order of their loss without suppression, until no other can have less.

    >>> from unlearn.privacy.anonymize import Intervals, Names
    >>> table = pd.DataFrame({"feeder": ["F1", "F1", "F2", "F3"], "kwh": [3100, 3900, 3300, 3700]})
    >>> places = Names({"F1": ("S1",), "F2": ("S2",), "F3": ("S2",)})
    >>> made = k_anonymous(table, {"feeder": places, "kwh": Intervals((1000, 5000))}, k=2)
    >>> made.levels, achieved_k(made.table, ["feeder", "kwh"])
    ({'feeder': 1, 'kwh': 1}, 2)

    Args:
        table: a row per household; columns without a hierarchy do not get into the result.
        hierarchies: of each quasi-identifier, by column.
        k: least number of rows that are the same.
        sensitive: column whose value shall not follow from the class; it stays as it is.
        l: least diversity of that column in each class; 1 asks for none.
        diversity: "distinct", at least l values; "entropy", an entropy of at least log l.
        most_suppressed: largest share of rows that may be left out.

    Raises:
        InputError: columns that are missing, missing values, fewer rows than k, an l without a sensitive column, no
            level at all that does, or a lattice of above a million nodes.
    """
    _check(table, hierarchies, k, sensitive, l, diversity, most_suppressed)
    names, n = list(hierarchies), len(table)
    depths = tuple(own.depth for own in hierarchies.values())
    codes = [
        [_coded(own.labels(name, table[name], level)) for level in range(own.depth)]
        for name, own in hierarchies.items()
    ]
    lost = [
        np.stack([own.penalty(name, table[name], level) for level in range(own.depth)])
        for name, own in hierarchies.items()
    ]
    secret = None if sensitive is None else _coded(table[sensitive])
    allowed = math.floor(most_suppressed * n + 1e-9)

    def examined(levels: Levels) -> Scored:
        place = _classes([codes[i][level] for i, level in enumerate(levels)])
        small = np.bincount(place)[place] < k
        fails = small if secret is None or l <= 1 else small | (_diversity(place, secret, diversity) < l - 1e-9)[place]
        out = int(fails.sum())
        penalty = sum(lost[i][level] for i, level in enumerate(levels)) / len(names)
        loss = float(np.where(fails, 1.0, penalty).sum()) / n if out <= allowed else math.inf
        # Entropy may fall where classes are joined, so that it alone rules out nothing below.
        monotone = fails if diversity == DIVERSITIES[0] else small
        return Scored(loss, rules_out_below=int(monotone.sum()) > allowed)

    base = [own.mean(axis=1) / len(names) for own in lost]
    found = least_loss(depths, base, examined)
    if found is None:
        raise InputError(
            "k_anonymous: expected a k and an l that the table allows, got ones that even the coarsest labels miss. "
            "Lower them, or raise most_suppressed."
        )
    place = _classes([codes[i][level] for i, level in enumerate(found.levels)])
    fails = np.bincount(place)[place] < k
    if secret is not None and l > 1:
        fails |= (_diversity(place, secret, diversity) < l - 1e-9)[place]
    return _made(table, hierarchies, found.levels, fails, found.loss, k, l, sensitive, found.examined)


def equivalence_classes(table: pd.DataFrame, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Combinations of labels that occur, with the number of rows of each in `rows`; the smallest first.

    Args:
        table: a row per household.
        columns: quasi-identifiers; None takes all.

    Raises:
        InputError: columns that are missing, or no rows.
    """
    chosen = _columns(table, columns)
    sizes = table.groupby(chosen, sort=True, dropna=False, observed=True).size().rename("rows").reset_index()
    return sizes.sort_values("rows", kind="stable").reset_index(drop=True)


def achieved_k(table: pd.DataFrame, columns: Sequence[str] | None = None) -> int:
    """Rows in the smallest class: whoever knows the columns of a household is left with at least so many.

    Raises:
        InputError: columns that are missing, or no rows.
    """
    return int(equivalence_classes(table, columns)["rows"].iloc[0])


def achieved_l(
    table: pd.DataFrame, sensitive: str, columns: Sequence[str] | None = None, diversity: str = DIVERSITIES[0]
) -> float:
    """Least diversity of a column in a class; with "entropy" the exponential of its entropy.

    Args:
        table: a row per household.
        sensitive: the column that shall not follow from the class.
        columns: quasi-identifiers; None takes all others.
        diversity: "distinct" or "entropy".

    Raises:
        InputError: columns that are missing, or no rows.
    """
    require_choice("diversity", diversity, DIVERSITIES)
    _columns(table, [sensitive])
    chosen = _columns(table, [own for own in table.columns if own != sensitive] if columns is None else columns)
    place = _classes([_coded(table[own]) for own in chosen])
    return float(_diversity(place, _coded(table[sensitive]), diversity).min())


def _check(
    table: pd.DataFrame,
    hierarchies: Mapping[str, Hierarchy],
    k: int,
    sensitive: str | None,
    least: float,
    diversity: str,
    most_suppressed: float,
) -> None:
    require_count("k", k)
    require_choice("diversity", diversity, DIVERSITIES)
    if require_not_negative("most_suppressed", most_suppressed) >= 1:
        raise InputError(f"most_suppressed: expected a share below 1, got {most_suppressed!r}.")
    if require_not_negative("l", least) < 1:
        raise InputError(f"l: expected at least 1, which asks for no diversity, got {least!r}.")
    if least > 1 and sensitive is None:
        raise InputError("sensitive: expected the column that l is of, got none. Name it, or leave l at 1.")
    if sensitive in hierarchies:
        raise InputError(f"sensitive: expected a column without a hierarchy, got {sensitive}. Drop one of the two.")
    if not hierarchies:
        raise InputError("hierarchies: expected at least one quasi-identifier, got none.")
    columns = _columns(table, [*hierarchies, *([] if sensitive is None else [sensitive])])
    if empty := [own for own in columns if table[own].isna().any()]:
        raise InputError(f"table: expected a value in each row, got missing ones in {', '.join(empty)}. Fill them.")
    if len(table) < k:
        raise InputError(f"k: expected at most the number of rows, got {k}, which is above it. Lower it.")
    nodes = math.prod(own.depth for own in hierarchies.values())
    if nodes > MOST_NODES:
        raise InputError(
            f"hierarchies: expected at most {MOST_NODES:,} combinations of levels, got {nodes:,}. Leave levels or "
            "attributes out."
        )


def _columns(table: pd.DataFrame, columns: Sequence[str] | None) -> list[str]:
    chosen = list(table.columns if columns is None else columns)
    if missing := [str(own) for own in chosen if own not in table]:
        raise InputError(f"table: expected the columns {', '.join(missing)}, which it does not have.")
    if not len(table) or not chosen:
        raise InputError(f"table: expected at least one row and column, got {len(table)} and {len(chosen)}.")
    return chosen


def _coded(values: pd.Series) -> IntArray:
    return pd.factorize(values, use_na_sentinel=False)[0].astype(np.int64)


def _classes(codes: Sequence[IntArray]) -> IntArray:
    """Class of each row, 0, 1, ...: rows that have all codes in common."""
    place = np.zeros(len(codes[0]), dtype=np.int64)
    for own in codes:  # packed after each column, so that products stay small
        place = np.unique(place * (int(own.max()) + 1) + own, return_inverse=True)[1]
    return place


def _diversity(place: IntArray, secret: IntArray, diversity: str) -> np.ndarray:
    """Diversity of each class, shape (classes,)."""
    pair, count = np.unique(place * (int(secret.max()) + 1) + secret, return_counts=True)
    of_class = pair // (int(secret.max()) + 1)
    if diversity == "distinct":
        return np.bincount(of_class).astype(np.float64)
    share = count / np.bincount(place)[of_class]
    return np.exp(np.bincount(of_class, weights=-share * np.log(share)))


def _made(
    table: pd.DataFrame,
    hierarchies: Mapping[str, Hierarchy],
    levels: Levels,
    fails: BoolArray,
    loss: float,
    k: int,
    least: float,
    sensitive: str | None,
    examined: int,
) -> Generalised:
    kept, suppressed = np.flatnonzero(~fails), np.flatnonzero(fails)
    columns = {
        name: own.labels(name, table[name], level).to_numpy()[kept]
        for (name, own), level in zip(hierarchies.items(), levels, strict=True)
    }
    made = pd.DataFrame(columns)
    sizes = equivalence_classes(made)["rows"].to_numpy() if len(made) else np.zeros(0, dtype=np.int64)
    if sensitive is not None:
        made[sensitive] = table[sensitive].to_numpy()[kept]
    n = len(table)
    losses = Losses(
        certainty=loss,
        discernibility=int((sizes**2).sum()) + n * len(suppressed),
        class_size=float(sizes.mean() / k),
        suppressed=len(suppressed) / n,
    )
    nodes = math.prod(own.depth for own in hierarchies.values())
    chosen = dict(zip(hierarchies, levels, strict=True))
    logger.info("k_anonymous: levels %s, loss %.3f, %d of %d nodes examined", chosen, loss, examined, nodes)
    return Generalised(made, chosen, kept, suppressed, losses, k, least, examined, nodes)
