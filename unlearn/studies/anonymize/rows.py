"""Tables of the page on de-identification."""

from __future__ import annotations

from unlearn.reporting.style import FORECASTER_NAMES, named
from unlearn.reporting.verdict import Spread, text, write
from unlearn.studies.anonymize.options import LABELS, OF_SUMS, ONE_DAY, ONE_WEEK, RAW
from unlearn.studies.anonymize.table import (
    ATTACK_NAMES,
    COPY,
    HIERARCHY,
    INDEPENDENT,
    TWO_WAYS,
    AnonymizeTable,
    named_step,
    signed,
)

Row = dict[str, str]
#: Numbers of known readings that have a name.
NAMES = {ONE_DAY: "a day", ONE_WEEK: "a week"}


def _shares(found: Spread | None) -> str:
    return text(found.times(100) if found else None, ".3g")


def _plain(found: Spread | None, factor: float = 1.0, form: str = ".3g") -> str:
    return write(found.times(factor) if found else None, form)


def step_rows(table: AnonymizeTable) -> list[Row]:
    """A row per release: who is found, what is learnt, what it costs, what is left."""
    rows = []
    for step in table.steps:
        attack = max((own for name in ATTACK_NAMES if (own := table.risk(step, name))),
                     key=lambda own: own.mean, default=None)  # fmt: skip
        breaking = table.breaking(step)
        rows.append(
            {
                "release": named_step(step),
                "gives away": _gives(table, step),
                f"found by {table.main} [%]": _plain(table.found(step), 100),
                "by a day [%]": _plain(table.found(step, ONE_DAY), 100),
                f"by {table.main} and the feeder [%]": _plain(table.found_in_feeder(step), 100),
                "risk of features": write(attack, ".2f"),
                "differences": write(breaking, ".3g"),
                "MAPE [%]": write(table.utility(step), ".3g"),
                "MAPE of the total [%]": write(table.total(step), ".3g"),
                "cost [money/h]": write(table.utility(step, "cost"), "short"),
                "cost [+%]": signed(added.mean) if (added := table.added(step)) and step != RAW else "–",
                "information left [%]": _plain(table.release(step, "information"), 100),
                "MB": _plain(table.release(step, "bytes"), 1e-6),
                "s": write(table.release(step, "seconds"), ".2g"),
            }
        )
    return rows


def _gives(table: AnonymizeTable, step: str) -> str:
    """What of a household a release holds."""
    if step == RAW:
        return "names and readings"
    if step in OF_SUMS:
        withheld = table.release(step, "withheld")
        return f"sums, {100 * withheld.mean:.3g} % withheld" if withheld and withheld.mean else "sums"
    if step == LABELS:
        shared = table.labels("k")
        return f"labels that {write(shared, '.3g')} or more share" if shared else "labels"
    return {"rotated": "readings, a month", "micro_5": "a crowd's readings",
            "micro_15": "a crowd's readings"}.get(step, "readings")  # fmt: skip


def linkage_rows(table: AnonymizeTable) -> list[Row]:
    """A row per release of records: the share that is found, by the number of known readings."""
    rows = []
    for step in table.steps:
        if step in (RAW, LABELS) or not any(table.found(step, known) for known in table.known) or step in OF_SUMS:
            continue
        row = {"release": named_step(step)}
        for known in table.known:
            row[f"found by {NAMES.get(known, known)} [%]"] = _shares(table.found(step, known))
        row["unique and right [%]"] = _shares(table.linkage(step, metric="unique_right"))
        row["records that agree"] = write(table.linkage(step, metric="matches"), ".3g")
        row["nearest right [%]"] = _plain(table.linkage(step, metric="top_1"), 100)
        row["among 10 nearest [%]"] = _plain(table.linkage(step, metric="top_10"), 100)
        rows.append(row)
    return rows


def sum_rows(table: AnonymizeTable) -> list[Row]:
    """A row per size of a published sum: AUC by what is known, and for the largest households."""
    rows = []
    for size in table.group_sizes:
        row = {"households in the sum": str(size)}
        for target, who in (("all", ""), ("largest", ", largest")):
            for span in table.spans:
                found = table.auc(size, span, target)
                if found or target == "all":
                    row[f"a {span}{who}"] = text(found, ".2f")
        rows.append(row)
    return rows


def differencing_rows(table: AnonymizeTable) -> list[Row]:
    """A row per publication and rule: what its differences isolate."""
    rows = []
    for publication in (HIERARCHY, TWO_WAYS):
        for step in (own for own in OF_SUMS if own in table.steps):
            own = {"part": "differencing", "publication": publication, "step": step}
            breaking = table.spread(**own, metric="breaking")
            if not breaking:
                continue
            rows.append(
                {
                    "published": publication,
                    "rule": named_step(step),
                    "sums": write(table.spread(**own, metric="sums"), ".3g"),
                    "withheld": write(table.spread(**own, metric="withheld"), ".3g"),
                    "energy withheld [%]": _plain(table.spread(**own, metric="withheld_energy"), 100),
                    "that break the rule": breaking.text(".3g"),
                    "of fewer than 15": write(table.spread(**own, metric="isolating"), ".3g"),
                    "fewest households": write(table.spread(**own, metric="fewest"), ".3g"),
                    "households recovered": write(table.spread(**own, metric="recovered"), ".3g"),
                    "s": write(table.spread(**own, metric="seconds"), ".2g"),
                }
            )
    return rows


def risk_rows(table: AnonymizeTable) -> list[Row]:
    """A row per release and control: risk of each attack on features."""
    rows = []
    for step in (*table.steps, COPY, INDEPENDENT):
        found = {name: table.risk(step, name) for name in ATTACK_NAMES}
        if any(found.values()):
            label = {COPY: "control: copy", INDEPENDENT: "control: other households"}.get(step, named_step(step))
            rows.append({"release": label, **{ATTACK_NAMES[name]: text(own, ".2f") for name, own in found.items()}})
    return rows


def loss_rows(table: AnonymizeTable) -> list[Row]:
    """A row per size of class: variance that microaggregation takes away."""
    return [
        {
            "households that share a curve": f"{size} or more",
            "lost of years [%]": _shares(table.loss(size, "year")),
            "lost of mean days [%]": _shares(table.loss(size, "mean day")),
        }
        for size in table.class_sizes
    ]


def label_rows(table: AnonymizeTable) -> list[Row]:
    """What generalisation made of the table of labels."""
    names = {
        "unique_before": ("households alone with their labels, before [%]", 100),
        "unique_after": ("after [%]", 100),
        "right_guess": ("guesses from labels that are right, after [%]", 100),
        "k": ("households that share a row, at least", 1),
        "l": ("values of the sensitive label in a row, at least", 1),
        "suppressed": ("households left out [%]", 100),
        "ncp": ("information lost, normalised certainty penalty [%]", 100),
        "discernibility": ("discernibility, pairs that share a row per household", 1),
    }
    return [
        {"labels": name, "number": text(found.times(factor), ".3g")}
        for metric, (name, factor) in names.items()
        if (found := table.labels(metric))
    ]


def network_rows(table: AnonymizeTable) -> list[Row]:
    """A row per forecaster beside the linear one, and release."""
    rows = []
    for kind in (own for own in table.forecasters if own != "linear"):
        for step in table.steps:
            if mape := table.utility(step, "mape", kind):
                cost = table.utility(step, "cost", kind)
                rows.append(
                    {
                        "forecaster": named(kind, FORECASTER_NAMES),
                        "release": named_step(step),
                        "MAPE [%]": mape.text(".3g"),
                        "cost [money/h]": write(cost, "short"),
                    }
                )
    return rows
