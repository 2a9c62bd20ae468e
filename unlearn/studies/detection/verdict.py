"""What the comparison of detectors found, in sentences and tables."""

from __future__ import annotations

import pandas as pd

from unlearn.studies.detection.seeds import GAN, UNFAIR, AnomalyTable, named, rule_named

#: A kind of which no detector finds more events in time.
_HARDLY = 0.2


def summarise_anomaly(records: pd.DataFrame) -> list[str]:
    """Sentences on who is best, whether a baseline beats the GAN, what an unfair threshold pretends, kinds not found.

    Args:
        records: of `anomaly`, any number of seeds.

    Raises:
        InputError: records of something else.
    """
    table = AnomalyTable(records)
    sentences = [_judged(table)]
    for level in ("window", "hour"):
        sentences += [_best(table, level), _against_gan(table, level, "f1"), _against_gan(table, level, "pr_auc")]
        sentences.append(_no_better_than_everything(table, level))
    sentences += [_unfair(table, level) for level in ("window", "hour")]
    sentences += [_events(table), _missed(table), _left_out(table)]
    return [sentence for sentence in sentences if sentence]


def detector_table(records: pd.DataFrame, level: str) -> list[dict[str, str]]:
    """A row per detector: metrics on test at the threshold of validation, with intervals; areas; times."""
    table = AnomalyTable(records)
    rows = []
    for name in table.detectors:
        row = {"detector": named(name), "chosen on validation": table.variants(name)}
        row["F1"] = str(table.fair(name, "f1", level) or "–")
        unfair = table.number(name, "f1", level, rule=UNFAIR)
        row["best on test"] = "–" if unfair is None else f"{unfair.mean:.3f}"
        for metric, title in (("pr_auc", "PR-AUC"), ("roc_auc", "ROC-AUC")):
            row[title] = str(table.number(name, metric, level) or "–")
        for metric in ("precision", "recall", "specificity", "accuracy"):
            row[metric] = str(table.fair(name, metric, level) or "–")
        for metric, title in (("fit_seconds", "fit [s]"), ("score_seconds", "score [s]")):
            found = table.number(name, metric, split=None)
            row[title] = "–" if found is None else f"{found.mean:.3g}"
        rows.append(row)
    return rows


def event_table(records: pd.DataFrame) -> list[dict[str, str]]:
    """A row per detector and kind: events, share found within a day and at all, delay, recall of hours."""
    table = AnomalyTable(records)
    rows = []
    for kind in (None, *table.kinds):
        for name in table.detectors:
            events = table.fair(name, "events", "event", kind)
            if events is None:
                continue
            delay = table.fair(name, "median_delay", "event", kind)
            found = table.fair(name, "found", "event", kind)
            rows.append(
                {
                    "kind": "all" if kind is None else kind.replace("_", " "),
                    "detector": named(name),
                    "events a seed": f"{events.mean:.0f}",
                    "found within 24 h": str(table.fair(name, "found_within_24h", "event", kind) or "–"),
                    "found at all": "–" if found is None else f"{found.mean:.3f}",
                    "median delay [h]": "–" if delay is None else f"{delay.mean:.3g}",
                    "recall of hours": str(table.fair(name, "recall", "hour", kind) or "–"),
                }
            )
    return rows


def _judged(table: AnomalyTable) -> str:
    first = table.detectors[0]
    windows = {level: table.number(first, "prevalence", level) for level in ("window", "hour")}
    buildings = table.fair(first, "buildings", "window")
    if buildings is None or windows["window"] is None or windows["hour"] is None:
        return ""
    return (
        f"{len(table.detectors)} detectors, {table.n_seeds} seed{'s' * (table.n_seeds > 1)}: judged on "
        f"{buildings.mean:.0f} buildings that no detector was fitted to, after training time, at thresholds chosen on "
        f"other buildings ({rule_named(table.rule)}). {100 * windows['window'].mean:.0f} % of their windows and "
        f"{100 * windows['hour'].mean:.1f} % of their hours are anomalous."
    )


def _ranked(table: AnomalyTable, metric: str, level: str) -> list[tuple[str, pd.Series]]:
    """Detectors with the values of their seeds, the best mean first."""
    found = []
    for name in table.detectors:
        number = table.fair(name, metric, level) if metric == "f1" else table.number(name, metric, level)
        if number is not None:
            found.append((name, number.values))
    return sorted(found, key=lambda pair: -pair[1].mean())


def _best(table: AnomalyTable, level: str) -> str:
    ranked = _ranked(table, "f1", level)
    if not ranked:
        return ""
    best, _ = ranked[0]
    said = f"Best F1 of {level}s: {named(best)}, {table.fair(best, 'f1', level)}"
    if len(ranked) == 1:
        return f"{said}."
    second, _ = ranked[1]
    return f"{said}; then {named(second)}, {table.fair(second, 'f1', level)}."


def _against_gan(table: AnomalyTable, level: str, metric: str) -> str:
    """Whether baselines beat the GAN, each seed against itself."""
    ranked = dict(_ranked(table, metric, level))
    gan = ranked.pop(GAN, None)
    if gan is None or not ranked:
        return ""
    title = "F1" if metric == "f1" else "area under the precision-recall curve"
    ahead = {name: (values > gan).sum() for name, values in ranked.items() if values.mean() > gan.mean()}
    own = f"{title} of {level}s, {gan.mean():.3f} in the mean"
    if not ahead:
        second = max(ranked, key=lambda name: ranked[name].mean())
        always = int((gan > ranked[second]).sum())
        return (
            f"No baseline beats the {named(GAN)} in {own}: the next, {named(second)}, has "
            f"{ranked[second].mean():.3f} and is behind in {always} of {len(gan)} seeds."
        )
    told = ", ".join(
        f"{named(name)} ({ranked[name].mean():.3f}; ahead in {count} of {len(gan)} seeds)"
        for name, count in ahead.items()
    )
    what = "A baseline beats" if len(ahead) == 1 else f"{len(ahead)} of {len(ranked)} baselines beat"
    return f"{what} the {named(GAN)} in {own}: {told}."


def _no_better_than_everything(table: AnomalyTable, level: str) -> str:
    everything = table.everything(level)
    poor = [named(name) for name, values in _ranked(table, "f1", level) if values.mean() <= everything]
    if not poor:
        return ""
    return f"No better than flagging every {level} (F1 {everything:.3f}): {', '.join(poor)}."


def _unfair(table: AnomalyTable, level: str) -> str:
    gaps = {}
    for name in table.detectors:
        fair, unfair = table.fair(name, "f1", level), table.number(name, "f1", level, rule=UNFAIR)
        if fair and unfair:
            gaps[name] = float((unfair.values - fair.values).mean())
    if not gaps:
        return ""
    most = max(gaps, key=lambda name: gaps[name])
    return (
        f"A threshold chosen on the test {level}s themselves would have shown an F1 higher by "
        f"{sum(gaps.values()) / len(gaps):.3f} in the mean, and by {gaps[most]:.3f} of the {named(most)}: no result."
    )


def _events(table: AnomalyTable) -> str:
    # Who flags everything finds every event: only those that do better than that are looked at.
    better = [name for name, values in _ranked(table, "f1", "hour") if values.mean() > table.everything("hour")]
    found = {name: table.fair(name, "found_within_24h", "event") for name in better}
    known = {name: number for name, number in found.items() if number is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name].mean)
    specificity = table.fair(best, "specificity", "hour")
    alarms = "" if specificity is None else f" while {100 * (1 - specificity.mean):.1f} % of normal hours are flagged"
    return (
        f"Most events found within a day of their start: {named(best)}, {known[best]}{alarms}. Scores of an hour rest "
        "on windows that may end after it; a detector in operation knows them that much later."
    )


def _missed(table: AnomalyTable) -> str:
    missed = []
    for kind in table.kinds:
        shares = [table.fair(name, "recall", "hour", kind) for name in table.detectors]
        best = max((number.mean for number in shares if number is not None), default=1.0)
        if best < _HARDLY:
            missed.append(f"{kind.replace('_', ' ')} (at most {100 * best:.0f} %)")
    return (
        f"Kinds of which no detector flags {100 * _HARDLY:.0f} % of the hours: {', '.join(missed)}." if missed else ""
    )


def _left_out(table: AnomalyTable) -> str:
    counts = [table.number(table.detectors[0], name, split=None) for name in ("few_readings", "constant")]
    few, constant = (0 if number is None else int(number.values.max()) for number in counts)
    if not few + constant:
        return ""
    return f"Left out: {few} buildings with too few readings in training time, {constant} of nearly one value only."
