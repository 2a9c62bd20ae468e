"""Answers with noise about meters, within a budget."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, require_fraction, require_positive
from unlearn.data.hours import Time, rows_between
from unlearn.data.text_tables import listed
from unlearn.dp.composition import Loss
from unlearn.dp.noise import Noise, NoiseSource, noise_source
from unlearn.errors import InputError
from unlearn.households.meters import Meters
from unlearn.privacy.release.accuracy import error_bound, scale_for_error
from unlearn.privacy.release.base import Answer, Contribution, Query, Sensitivity, View
from unlearn.privacy.release.bounding import bounded_steps
from unlearn.privacy.release.budget import Budget, Spent
from unlearn.privacy.release.log import ReleaseLog
from unlearn.privacy.release.mechanisms import DEFAULTS, MECHANISMS, Asking, Mechanism, opendp
from unlearn.privacy.release.questions import Pilot, digest, grouped

logger = logging.getLogger(__name__)


class PrivateRelease:
    """Statistics of meters with differential privacy, whose cost together stays within a budget.

    Hours, groups, bounds and queries are public and chosen without looking at the data. Each question is charged before
    data are read, and stays charged if it fails. The same statistic is answered once: this
    keeps callers from averaging by mistake; the promise is the budget's, whatever they ask.

    >>> from unlearn.dp import SimulatedNoise
    >>> from unlearn.households import hourly_meters, simulate_households
    >>> meters = hourly_meters(simulate_households(30, n_days=14))
    >>> bounds = Contribution("household", kwh_per_hour=3.0, kwh_per_day=20.0)
    >>> release = PrivateRelease(meters, bounds, Budget(epsilon=2.0), noise=SimulatedNoise(0))
    >>> from unlearn.privacy.release.queries import Peak, Sum
    >>> answer = release.answer(Sum(), epsilon=1.0)
    >>> round(answer.noise_scale, 6)  # 14 days of 20 kWh
    280.0
    >>> release.spent().epsilon
    1.0
    >>> round(release.epsilon_for(Peak(), within=0.05, of_kwh=100.0), 2)  # the peak within 5 % of 100 kWh
    1.8
    """

    def __init__(
        self,
        meters: Meters,
        contribution: Contribution | None = None,
        budget: Budget | None = None,
        *,
        groups: Mapping[str, str] | None = None,
        group_names: Sequence[str] | None = None,
        noise: Noise = "os",
        log: str | Path | None = None,
        confidence: float = 0.95,
    ) -> None:
        """Fix all that is public.

        Args:
            meters: hourly readings.
            contribution: what is protected, and the bounds of one contributor.
            budget: what all answers together may cost.
            groups: group of each customer, by name; public, and may name others. None puts all into one group, "all".
            group_names: all groups, in the order of answers; those of `groups`, sorted, if None.
            noise: "os", which nobody can draw again; `SimulatedNoise(seed)` repeats, protects nobody, and is refused
                unless the meters are simulated.
            log: file of charges, of mode 600; whoever names it again goes on with its budget and its questions. None
                keeps them in memory.
            confidence: of each interval.

        Raises:
            InputError: bounds or budget are missing, customers without a group, or a seed for real data.
            MissingPackageError: OpenDP is not installed.
            MismatchError: the log is of another budget.
        """
        if not isinstance(contribution, Contribution):
            raise InputError(
                f"contribution: expected a Contribution, got {type(contribution).__name__}. Without bounds one "
                "household could move an answer by any amount, and no noise would hide it. Pass "
                "Contribution('household', kwh_per_hour=..., kwh_per_day=...), chosen without looking at the data."
            )
        if not isinstance(budget, Budget):
            raise InputError(
                f"budget: expected a Budget, got {type(budget).__name__}. Pass Budget(epsilon=1.0), which all answers "
                "share."
            )
        if isinstance(noise, NoiseSource):
            raise InputError(
                'noise: expected "os" or SimulatedNoise(seed), got a source, which may have been made for other data. '
                'Pass noise="os".'
            )
        self._source = noise_source(noise, meters)
        if self._source.kind != "simulated":
            opendp()
        self.meters, self.contribution, self.budget = meters, contribution, budget
        self.confidence = require_fraction("confidence", confidence)
        self.groups, self._group = grouped(meters, groups, group_names)
        self._assignment = digest([list(self.groups), sorted((groups or {}).items())])
        self._log = ReleaseLog(budget, log)
        #: Answers of this process by their number.
        self.answers: dict[int, Answer] = {}

    def __repr__(self) -> str:
        spent = self.spent()
        return f"PrivateRelease({spent.answers} answers, epsilon = {spent.epsilon:g} of {self.budget.epsilon:g})"

    def spent(self) -> Spent:
        """What all answers so far cost together; those of other processes with the same log too."""
        return self._log.filter().spent()

    def answer(
        self,
        query: Query,
        *,
        epsilon: float | None = None,
        rho: float | None = None,
        mechanism: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Answer:
        """Answer a query with noise.

        Args:
            query: such as `LoadCurve()` or `Count(above_kwh=20.0, of="mean_day")`.
            epsilon: ε of this answer; either this or `rho`.
            rho: ρ of it, for Gaussian noise, in a budget of composition "zcdp".
            mechanism: of `MECHANISMS`; by default discrete Laplace noise for ε, discrete Gaussian noise for ρ.
            start: first hour; that of the meters if None.
            end: time after the last hour; that of the meters if None.

        Returns:
            Values, their confidence intervals, and what they cost.

        Raises:
            InputError: a cost that is not above 0 and finite, a mechanism that does not go with it, hours that there
                are none of, or a statistic that was answered before. No data were read.
            BudgetError: it would cost more than is left. No data were read.
        """
        asking, rows, loss = self._asked(query, epsilon, rho, mechanism, start, end)
        query.sensitivity(self.contribution, asking.view)
        charge = self._log.charge(self._question(query, asking.view), query.name, loss)
        found = query.answered(self._totals(query, asking.view, rows), asking)
        answer = Answer(
            query=query.name,
            unit=query.unit,
            cells=query.cells(asking.view),
            values=found.values,
            low=found.low,
            high=found.high,
            confidence=self.confidence,
            noise=found.noise,
            noise_scale=found.scale,
            epsilon=loss.epsilon,
            delta=loss.delta,
            rho=loss.rho,
            level=self.contribution.level,
            source="simulated" if self._source.kind == "simulated" else "opendp",
        )
        self._log.answered(charge)
        self.answers[charge.number] = answer
        logger.info("answer %d: %s", charge.number, answer)
        return answer

    def error_for(
        self,
        query: Query,
        epsilon: float | None = None,
        *,
        rho: float | None = None,
        mechanism: str | None = None,
        confidence: float | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> float:
        """What noise leaves all values of an answer within, at once, in the unit of the query; no data are read.

        Args:
            query: one whose answer is sums with noise, which a mean and a quantile are not.
            epsilon: see `answer`.
            rho: see `answer`.
            mechanism: see `answer`.
            confidence: with which chance; that of the release if None.
            start: see `answer`.
            end: see `answer`.

        Raises:
            InputError: another query, or what `answer` refuses.
        """
        asking, _, _ = self._asked(query, epsilon, rho, mechanism, start, end)
        scale = asking.mechanism.scale_for(self._plain(query, asking.view), asking.amount)
        n_values = len(query.cells(asking.view))
        sure = self.confidence if confidence is None else require_fraction("confidence", confidence)
        return error_bound(asking.mechanism.name, scale, n_values, sure) * query.step

    def epsilon_for(
        self,
        query: Query,
        within: float,
        *,
        of_kwh: float | None = None,
        of_count: float | None = None,
        pilot_epsilon: float | None = None,
        confidence: float | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> float:
        """ε with which all values of an answer are within a share of a reference, at once.

        The reference is public: a feeder's rating, or the peak that was published last year. Where there is none,
        `pilot_epsilon` asks for a rough answer first, which is charged; the reference is then the least that its
        smallest value can be, with the same confidence, so that the whole fails with at most twice the chance.

        Args:
            query: one whose answer is sums with noise.
            within: share of the reference, such as 0.05 for ±5 %.
            of_kwh: the reference of energy.
            of_count: the reference of a count.
            pilot_epsilon: ε of a rough answer.
            confidence: with which chance; that of the release if None.
            start: see `answer`.
            end: see `answer`.

        Raises:
            InputError: another query, no reference, or one in another unit; a pilot that is too rough.
            BudgetError: the pilot costs more than is left.
        """
        require_positive("within", within)
        asking, _, _ = self._asked(query, 1.0, None, None, start, end)
        sensitivity = self._plain(query, asking.view)
        sure = self.confidence if confidence is None else require_fraction("confidence", confidence)
        given = {"of_kwh": of_kwh, "of_count": of_count, "pilot_epsilon": pilot_epsilon}
        reference = given[_reference_of(query, given)]
        assert reference is not None
        if pilot_epsilon is not None:
            reference = self._least(query, pilot_epsilon, sure, start, end)
        bound = within * reference
        scale = scale_for_error(asking.mechanism.name, bound / query.step, len(query.cells(asking.view)), sure)
        return sensitivity.l1 / scale * (1 + 1e-11)  # more than its rounding

    def _least(self, query: Query, epsilon: float, sure: float, start: Time | None, end: Time | None) -> float:
        """What all values of a query are at least, by a rough answer."""
        error = self.error_for(query, epsilon, confidence=sure, start=start, end=end)
        pilot = self.answer(Pilot(query), epsilon=epsilon, start=start, end=end)
        if (least := float(pilot.values.min()) - error) <= 0:
            raise InputError(
                f"pilot_epsilon: expected a pilot whose intervals lie above 0, got one that reaches below with "
                f"epsilon = {epsilon:g}. Pass a public reference instead, or ask for larger groups."
            )
        return least

    def _plain(self, query: Query, view: View) -> Sensitivity:
        if not query.plain:
            raise InputError(
                f"query: expected one whose answer is sums with noise, such as Sum or Count, got {query.name}, whose "
                "error depends on the data. Its answer carries an interval."
            )
        return query.sensitivity(self.contribution, view)

    def _asked(
        self,
        query: Query,
        epsilon: float | None,
        rho: float | None,
        mechanism: str | None,
        start: Time | None,
        end: Time | None,
    ) -> tuple[Asking, slice, Loss]:
        if isinstance(query, type) or not is_dataclass(query) or not callable(getattr(query, "summed", None)):
            raise InputError(
                f"query: expected a data class with the methods of Query, such as Sum(), got {type(query).__name__}."
            )
        given = {name: value for name, value in (("epsilon", epsilon), ("rho", rho)) if value is not None}
        if len(given) != 1:
            raise InputError(f"epsilon: expected either epsilon= or rho=, got {listed(list(given)) or 'neither'}.")
        [(promise, amount)] = given.items()
        require_positive(promise, amount)
        own: Mechanism = MECHANISMS[DEFAULTS[promise] if mechanism is None else mechanism]
        if own.promise != promise:
            raise InputError(
                f"mechanism: expected one whose cost is counted in {promise}, got {mechanism!r}, whose cost is counted "
                f"in {own.promise}. Pass {own.promise}=, or mechanism={DEFAULTS[promise]!r}."
            )
        hours = self.meters.hours
        last = hours[-1] + pd.Timedelta(hours=1)
        rows = rows_between("hours", hours, hours[0] if start is None else start, last if end is None else end)
        columns = slice(int(rows[0]), int(rows[-1]) + 1)
        view = View(hours[columns], self.groups)
        loss = Loss.pure(amount) if promise == "epsilon" else Loss(math.inf, 0.0, amount)
        asking = Asking(self.contribution, view, self.confidence, own, amount, self._source)
        return asking, columns, loss

    def _question(self, query: Query, view: View) -> str:
        """Hash of a statistic, whatever its cost."""
        asked = [type(query).__qualname__, asdict(query), str(view.hours[0]), str(view.hours[-1])]  # type: ignore[call-overload]
        return digest([*asked, self._assignment, asdict(self.contribution)])

    def _totals(self, query: Query, view: View, columns: slice) -> IntArray:
        """Exact sums over all households, a block of customers at a time."""
        totals = None
        for where, kwh in self.meters.blocks(query.name):
            steps = bounded_steps(kwh[:, columns], self.contribution, view)
            own = query.summed(steps, self._group[where], view)
            totals = own if totals is None else totals + own
        if totals is None:
            totals = query.summed(np.zeros((0, len(view.hours)), dtype=np.int64), self._group[:0], view)
        return totals


def _reference_of(query: Query, given: Mapping[str, float | None]) -> str:
    """Name of the reference that is given, checked."""
    wanted = "of_kwh" if query.unit == "kwh" else "of_count"
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1 or named[0] not in (wanted, "pilot_epsilon"):
        raise InputError(
            f"{wanted}: expected a public reference that the error is a share of, or pilot_epsilon=, got "
            f"{listed(named) or 'neither'}. The epsilon of a share of the true value would tell that value. Pass "
            f"{wanted}=, such as a feeder's rating or what was published last year."
        )
    require_positive(named[0], cast(float, given[named[0]]))
    return named[0]
