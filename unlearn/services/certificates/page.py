"""The page of a certificate, for a privacy officer: one self-contained file, made of the certificate alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from unlearn.services.base import CERTIFIED, CUSTOMERS, EMPIRICAL, EXACT, HOURS
from unlearn.services.certificates.words import change, code, counted, four, listed, name, safe, sentence, table, when

_GUARANTEES = {
    EXACT: ("exact", "The parameters equal those of a model that is fitted to the data without what was removed."),
    CERTIFIED: (
        "certified within (ε, δ)",
        "Noise covers what may be left: within the stated ε and δ, nobody can tell the model from one that never saw "
        "what was removed.",
    ),
    EMPIRICAL: (
        "shown by measurement alone",
        "No formula bounds what is left: the model is trained anew, or measurements say that nothing is left.",
    ),
}
_METHODS = {
    "original": "before",
    "complete": "after",
    "scale": "after, scaled to cost less",
    "affine": "after, scaled and shifted to cost less",
}
_CASES = {
    "leaves": "The customer leaves: the readings no longer count to the load.",
    "objects": "The customer objects: the load stays as large, filled up by what is not personal",
}
_NUMBERS = {
    "residual_gradient": "Residual gradient on the remaining data (0: the model is the best fit to it)",
    "distance_to_retrained": "Distance to a model trained without the data (0: the same model)",
    "update_distance": "Distance of the updated sums' solution to the one from the data (0: the same)",
    "parameter_change": "Change of the parameters by the removal",
    "epsilon": "ε: how well both models can be told apart at most",
    "delta": "δ: how likely ε does not hold",
    "bound_spent": "Bound used up by removals so far",
    "budget": "Bound at which the model is to be trained anew",
    "audit_left": "Where the model stands to the attacker (0: as one without the data, 1: as one with it)",
    "profiles_before": "Days that it learnt from before",
    "profiles_after": "Days that it learns from now",
    "windows_before": "Windows that it learnt from before",
    "windows_after": "Windows that it learns from now",
    "shards": "Parts that customers are divided between",
    "shards_trained": "Parts that were trained anew",
    "nearest_before_kwh": "Distance of the removed days to the nearest generated day before, kWh",
    "nearest_after_kwh": "The same now, kWh",
    "nearest_unseen_kwh": "The same of days that nothing was fitted to, kWh",
}
_AUDIT = "audit_auc_"
_SHOWN = 8


def page(content: Mapping[str, Any]) -> str:
    """Write the page of what a certificate says.

    Args:
        content: a body that `unlearn.services.certificates.schema` accepts, with its `ledger` and `key`.
    """
    template = Template(
        resources.files("unlearn.services.certificates").joinpath("certificate.html").read_text(encoding="utf-8")
    )
    parts = (
        _summary(content), _overview(content["models"]), _audits(content["models"]), _effects(content["models"]),
        _uncovered(content), _retention(content), _models(content["models"]), _check(content), _identifiers(content),
    )  # fmt: skip
    return template.substitute(
        request=safe(content["request"]["id"]),
        answer=answer(content),
        look="good" if content["complete"] else "bad",
        blocks="\n".join(part for part in parts if part),
    )


def answer(content: Mapping[str, Any]) -> str:
    """The answer in one sentence, in HTML."""
    models, what = content["models"], subject(content["request"])
    verb = "is" if what.startswith(("Customer ", "Load ", "1 ")) else "are"
    n_left = sum(not model["complete"] for model in models)
    if not models:
        return f"{what} {verb} in no model of this registry."
    if n_left:
        return f"NOT complete: {what[0].lower()}{what[1:]} {verb} still in {n_left} of {counted(len(models), 'model')}."
    where = "the one model concerned" if len(models) == 1 else f"all {len(models):,} models"
    found = Counter(model["guarantee"] for model in models)
    kinds = [f"{_GUARANTEES[kind][0]}{f' in {n}' if len(found) > 1 else ''}" for kind, n in found.most_common()]
    return f"{what} {verb} forgotten in {where}: {', '.join(kinds)}."


def subject(request: Mapping[str, Any]) -> str:
    """What was to be forgotten, in a few words of HTML that begin a sentence."""
    loads, n_hours = request["loads"] or [], request["n_hours"]
    hours = counted(n_hours or 0, "hour")
    if request["subject"] == CUSTOMERS:
        one = f"ustomer {code(request['removed'][0][:4] + '…')}" if request["n_customers"] == 1 else ""
        if n_hours is None:
            return f"C{one}" if one else f"{request['n_customers']:,} customers"
        return f"Readings of {f'c{one}' if one else counted(request['n_customers'], 'customer')} in {hours}"
    named = f"oad {name(loads[0])}" if len(loads) == 1 else counted(len(loads), "load")
    if request["subject"] == HOURS:
        return f"{hours} of {f'l{named}' if len(loads) == 1 else named}" if loads else hours
    return f"L{named}" if len(loads) == 1 else named


def _summary(content: Mapping[str, Any]) -> str:
    request, hours = content["request"], content["request"]["hours"] or []
    said = [f"Asked on {when(request['asked_utc'])}, done on {when(request['applied_utc'])}."]
    if request["case"]:
        case = _CASES.get(request["case"], safe(request["case"]))
        filled = f" ({safe(request['replacement'])})" if request["replacement"] else ""
        said.append(f"{case.removesuffix('.')}{filled}.")
    if hours:
        more = f" and {len(hours) - _SHOWN:,} more" if len(hours) > _SHOWN else ""
        said.append(f"Hours: {', '.join(_range(*pair) for pair in hours[:_SHOWN])}{more}.")
    why = [
        f"{name(model['name'])}: {sentence(limitation)}"
        for model in content["models"]
        if not model["complete"]
        for limitation in model["limitations"]
    ]
    return f'<p class="lead">{" ".join(said)}</p>\n{listed(why)}'


def _range(first: str, last: str) -> str:
    ends = [safe(text[:16].replace("T", " ")) for text in (first, last)]
    return ends[0] if first == last else " to ".join(ends)


def _models(models: Sequence[Mapping[str, Any]]) -> str:
    if not models:
        return ""
    return "\n".join(["<h2>What was done to each model</h2>", *map(_model, models)])


def _overview(models: Sequence[Mapping[str, Any]]) -> str:
    """A line per model, where there are several."""
    rows = [(name(model["name"]), _state(model), _GUARANTEES[model["guarantee"]][0]) for model in models]
    return table("", ("Model", "Forgotten", "Guarantee"), rows, 3) if len(models) > 1 else ""


def _state(model: Mapping[str, Any]) -> str:
    return '<span class="good">yes</span>' if model["complete"] else '<span class="bad">not completely</span>'


def _model(model: Mapping[str, Any]) -> str:
    short, plain = _GUARANTEES[model["guarantee"]]
    if not model["complete"]:
        short, plain = (
            "none for the whole model",
            f"Of what is fitted anew: {short}. The rest saw what was to be removed.",
        )
    seconds = sum(model["seconds"].values())
    lines = [
        f"<h3>{name(model['name'])} ({safe(model['kind'])})</h3>",
        f"<dl><dt>Method</dt><dd>{sentence(model['method'])} {sentence(model['why']) if model['why'] else ''}</dd>",
        f"<dt>Forgotten</dt><dd>{_state(model)}</dd>",
        f"<dt>Guarantee: {short}</dt><dd>{plain}</dd></dl>",
    ]
    if model["constants"]:
        rows = [
            (
                name(constant["name"]),
                "yes" if constant["saw"] else "no",
                _became(constant) + (f" {sentence(constant['note'])}" if constant["note"] else ""),
            )
            for constant in model["constants"]
        ]
        lines.append(table("", ("Part of the model", "Saw the data", "Now"), rows, 3))
    numbers = [
        (_NUMBERS.get(key, safe(key.replace("_", " "))), four(value))
        for key, value in model["numbers"].items()
        if not key.startswith(_AUDIT) and value is not None
    ]
    if numbers:
        lines.append(table("", ("Measured", "Value"), numbers))
    if seconds:
        lines.append(f'<p class="note">It took {four(float(f"{seconds:.2g}"))} seconds.</p>')
    return "\n".join(lines)


def _became(constant: Mapping[str, Any]) -> str:
    if constant["refitted"]:
        return '<span class="good">fitted anew without it.</span>'
    return '<span class="open">kept.</span>' if constant["saw"] else "as it was."


def _effects(models: Iterable[Mapping[str, Any]]) -> str:
    blocks = []
    for model in models:
        for split in dict.fromkeys(effect["split"] for effect in model["effect"]):
            own = [effect for effect in model["effect"] if effect["split"] == split]
            before = next((effect for effect in own if effect["method"] == "original"), own[0])
            rows = [
                (
                    safe(_METHODS.get(effect["method"], effect["method"])),
                    four(effect["mse_pu2"]),
                    four(effect["mape_percent"]),
                    four(effect["cost_per_hour"]) + _changed(before, effect),
                )
                for effect in own
            ]
            columns = ("Model", "MSE (p.u.²)", "MAPE (%)", "Cost (money/h)")
            blocks.append(table(f"{name(model['name'])}, {safe(split)} hours", columns, rows))
    if not blocks:
        return ""
    lead = (
        "Errors of the forecasts, and what running the grid by them costs, on hours that the models were not fitted "
        "to. MSE: mean squared error in per unit; MAPE: mean error as a share of the load."
    )
    return "\n".join(["<h2>What it cost</h2>", f'<p class="lead">{lead}</p>', *blocks])


def _changed(before: Mapping[str, Any], effect: Mapping[str, Any]) -> str:
    percent = "" if effect is before else change(before["cost_per_hour"], effect["cost_per_hour"])
    return f"<br><small>{percent}</small>" if percent else ""


def _audits(models: Iterable[Mapping[str, Any]]) -> str:
    lead = (
        "An audit attacks the model, to tell whether the data was among what it learnt from. Its AUC is 0.5 if that "
        "cannot be told, and 1 if it can be told each time; in brackets the range at 95 % confidence."
    )
    found = [f"{name(model['name'])}: {_audit(model['numbers'], model['method'])}" for model in models]
    return f'<h2>Can it still be told?</h2>\n<p class="lead">{lead}</p>\n{listed(found)}' if found else ""


def _audit(numbers: Mapping[str, float | None], method: str) -> str:
    said = []
    for time in ("before", "after"):
        auc, low, high = (numbers.get(f"{_AUDIT}{time}{end}") for end in ("", "_low", "_high"))
        if auc is not None:
            known = low is not None and high is not None
            said.append(f"{time} AUC {auc:.2f}" + (f" ({low:.2f} to {high:.2f})" if known else ""))
    auc, low, high = (numbers.get(f"{_AUDIT}after{end}") for end in ("", "_low", "_high"))
    if auc is None:
        anew = " It was trained anew, from nothing of the model before." if method.startswith("trained anew") else ""
        return f"{'; '.join(said)}; not measured after." if said else f"not measured.{anew}"
    if low is None or high is None:
        return f"{'; '.join(said)}."
    if low > 0.5:
        return f'{"; ".join(said)}: <span class="bad">it can still be told.</span>'
    if high < 0.5:
        return f'{"; ".join(said)}: <span class="open">below 0.5, which a reversed guess would tell.</span>'
    before = numbers.get(f"{_AUDIT}before_low")
    nor = ", nor could it before" if before is not None and before <= 0.5 else ""
    return f'{"; ".join(said)}: <span class="good">it cannot be told{nor}.</span>'


def _uncovered(content: Mapping[str, Any]) -> str:
    own = [
        f"{name(model['name'])}: {sentence(limitation)}"
        for model in content["models"]
        if model["complete"]
        for limitation in model["limitations"]
    ]
    return "<h2>What is not covered</h2>\n" + (
        listed([*map(sentence, content["not_covered"]), *own]) or "<p>Nothing is named.</p>"
    )


def _retention(content: Mapping[str, Any]) -> str:
    kept = content["retention"]
    days = f"{four(kept['days'])} {'day' if kept['days'] == 1 else 'days'}"
    lead = (
        f"Earlier models and data are kept, encrypted, for {days}, so that a mistake can be taken back. Their keys are "
        f"destroyed after {when(kept['destroyed_after_utc'])}; nothing can read them then."
    )
    rows = [(name(one["artefact"]), safe(str(one["version"])), when(one["at_utc"])) for one in content["destroyed"]]
    if rows:
        done = table("Destroyed", ("What", "Version", "When"), rows, 3)
    else:
        done = (
            "<p>None was destroyed when this was written. With the registry, the check below says what was since.</p>"
        )
    return f"<h2>Earlier versions</h2>\n<p>{lead}</p>\n{done}"


def _check(content: Mapping[str, Any]) -> str:
    return (
        "<h2>How to check this certificate</h2>\n"
        "<p>This page alone proves nothing. Keep it in its folder with the three files beside it, and run</p>\n"
        "<pre>unlearn verify FOLDER --public-key FILE</pre>\n"
        "<p>FOLDER is where this page is. FILE is the registry's public key, which you got from whoever runs the "
        "registry by another way than this folder. Its fingerprint is "
        f"{code(content['key']['fingerprint'])}; compare it. A changed byte in any of the four files is found.</p>"
    )


def _identifiers(content: Mapping[str, Any]) -> str:
    request, registry, data = content["request"], content["registry"], content["data"]
    rows = [
        ("Request", code(request["id"])),
        ("Registry", f"{name(registry['name'])} {code(registry['id'])}"),
        (f"Row {content['ledger']['seq']} of the ledger", code(content["ledger"]["digest"])),
        ("Public key", code(content["key"]["public"])),
    ]
    for own in data:
        title = name(own["name"])
        rows += [(f"{title}, {time}", _version(own, time)) for time in ("before", "after")]
        rows.append((f"{title}, content after", code(own["fingerprint_after"] or "not known")))
    for model in content["models"]:
        rows += [(f"{name(model['name'])}, {time}", _version(model, time)) for time in ("before", "after")]
    versions = ", ".join(f"{safe(package)} {safe(version)}" for package, version in content["versions"].items())
    removed = listed(code(one) for one in request["removed"])
    of = counted(len(request["removed"]), "removed name")
    hashes = f"<details><summary>Keyed hashes of {of}</summary>{removed}</details>" if removed else ""
    return (
        '<h2>Identifiers</h2>\n<p class="note">A version is named by the SHA-256 of its file, which is encrypted.</p>\n'
        f'{table("", ("What", "Identifier"), rows, 2)}\n{hashes}\n<p class="note">Written with {versions}.</p>'
    )


def _version(of: Mapping[str, Any], time: str) -> str:
    version, sha256 = of[f"version_{time}"], of[f"sha256_{time}"]
    if version is None:
        return "none"
    return f"version {safe(str(version))}" + (f" {code(sha256)}" if sha256 else "")
