"""The command `unlearn`: train models on meters, forget customers, and hand over evidence.

    unlearn sample meters.csv                  simulated customers, to try it with
    unlearn train meters.csv --grid ieee14     a registry with the data and a forecaster
    unlearn plan --customer C7                 what forgetting C7 would do; nothing changes
    unlearn forget --customer C7               forget C7 in all models that learnt from it
    unlearn certify R-000001                   a signed certificate and a page
    unlearn verify certificates/R-000001       check it

Exit codes: 0 done; 2 the input is no good, and nothing was changed; 3 a certificate or the ledger does not verify;
4 done, but something of it is left in a model, and it is said what.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from unlearn.errors import UnlearnError

#: Exit codes.
DONE, REFUSED, NOT_VERIFIED, NOT_COMPLETE = 0, 2, 3, 4

_REGISTRY = "deletions"


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(REFUSED, f"error: {message.rstrip('.')}. See {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked, and return the exit code."""
    asked = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    from unlearn.services import actions

    action: Callable[[argparse.Namespace], actions.Told] = getattr(actions, asked.command)
    try:
        told = action(asked)
    except UnlearnError as error:
        _tell(asked, {"error": str(error)}, [f"error: {error}"], sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was not finished is as it was before\n")
        return 130
    _tell(asked, told.values, told.lines, sys.stdout)
    return told.code


def _tell(asked: argparse.Namespace, values: dict[str, Any], lines: Sequence[str], stream: Any) -> None:
    if asked.json:
        lines = [json.dumps(values, indent=2, sort_keys=True)]
        stream = sys.stdout
    stream.write("\n".join(lines) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="unlearn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, what: str, more: str = "") -> argparse.ArgumentParser:
        own = commands.add_parser(
            name, help=what, description=f"{what[0].upper()}{what[1:]}. {more}".strip(), allow_abbrev=False
        )
        own.add_argument("--registry", type=Path, default=Path(_REGISTRY), metavar="FOLDER", help="folder of the "
                         "registry; default: deletions")  # fmt: skip
        own.add_argument("--key", type=Path, metavar="FILE", help="key of the registry; default: FOLDER.key beside it")
        own.add_argument("--json", action="store_true", help="print the result as JSON")
        return own

    tried = command("sample", "write a CSV of simulated customers, to try the other commands with")
    tried.add_argument("file", type=Path, help="to write, such as meters.csv")
    tried.add_argument("--customers", type=int, default=60, metavar="N", help="how many customers; default: 60")
    tried.add_argument("--days", type=int, default=90, metavar="N", help="how many days; default: 90")
    _train(command("train", "read meters into a registry, and train models on them", _TRAIN))
    planned = command("plan", "say what a request would do to each model; nothing is changed")
    _subject(planned)
    planned.add_argument("--tunings", nargs="*", metavar="METHOD", help="ways to tune that are compared; default: all")
    done = command("forget", "remove what is named from the data and from every model that learnt from it")
    done.add_argument("request", nargs="*", help="requests that were planned, such as R-000001, instead of names")
    _subject(done)
    done.add_argument(
        "--retain-days", type=float, metavar="DAYS", help="until the versions before are destroyed; 0: now"
    )
    done.add_argument("--no-measure", action="store_true", help="leave out audit and effects, which take some seconds")
    made = command("certify", "write the signed certificate of a request, and a page to read")
    made.add_argument("request", help="such as R-000001")
    made.add_argument("--out", type=Path, metavar="FOLDER", help="default: certificates/REQUEST")
    checked = command(
        "verify",
        "check a certificate, or the registry's own ledger",
        "With the registry and its key, numbers are computed again from data and models; with --public-key alone, "
        "signature, evidence and ledger are checked.",
    )
    checked.add_argument("certificate", nargs="?", type=Path, help="its folder; none checks the ledger of the registry")
    checked.add_argument("--public-key", type=Path, metavar="FILE", help="the key that you trust, such as registry.pub")
    checked.add_argument("--retrain", action="store_true", help="also train each model again and compare")
    checked.add_argument("--customer", metavar="NAME", help="also check that the certificate is "
                         "about this customer; needs the registry and its key")  # fmt: skip
    told = command("report", "list data, models, requests and what is still kept of them")
    told.add_argument("--page", type=Path, metavar="FILE", help="also write it as an HTML page")
    undone = command("restore", "take back a request that was planned, or one that was applied, within its retention")
    undone.add_argument("request", help="such as R-000001")
    return parser


_TRAIN = (
    "The first call makes the registry and its key, and needs METERS. Later calls add models to the data that is there."
)


def _train(own: argparse.ArgumentParser) -> None:
    own.add_argument("meters", nargs="?", type=Path, help="CSV of readings: a column of times and one per customer "
                     "(kWh per step), or Low Carbon London's layout; or its .npz")  # fmt: skip
    own.add_argument("--model", nargs="+", default=["linear"], metavar="NAME", help="linear, cnn, mixer, faraday "
                     "(synthetic profiles), autoencoder or gan (anomalies), certified; default: linear")  # fmt: skip
    own.add_argument("--name", help="what the model is called; default: as --model")
    own.add_argument("--loads", type=int, metavar="N", help="spread customers over N loads at random; default: as many "
                     "as the grid has, or one for 20 customers")  # fmt: skip
    own.add_argument(
        "--assignment", type=Path, metavar="CSV", help="which load each customer belongs to: customer,load"
    )
    own.add_argument("--weather", type=Path, metavar="CSV", help="a column of times, and one per variable")
    own.add_argument("--grid", metavar="CASE", help="scale loads to a grid and price forecasts on it, such as ieee14")
    own.add_argument("--lags", type=int, nargs="*", default=[24, 168], metavar="HOURS", help="loads of earlier hours "
                     "that are features; default: 24 168")  # fmt: skip
    own.add_argument("--gaps", choices=("refuse", "leave_out"), default="refuse", help="what to do about "
                     "meters with missing hours; default: refuse")  # fmt: skip
    own.add_argument("--tune", metavar="METHOD", help="tune forecasts for cost: scale, affine, quantile, weights, head")
    own.add_argument("--extractor", choices=("own", "simulated"), default="own", help="what a network's extractor "
                     "learns from; simulated customers need never be forgotten")  # fmt: skip
    own.add_argument("--epochs", type=int, metavar="N", help="passes over the data, of networks and generators")
    own.add_argument("--shards", type=int, default=1, metavar="K", help="train generators and detectors in K parts, of "
                     "which a request trains anew only some")  # fmt: skip
    own.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn at random; default: 0")
    own.add_argument("--retention", type=float, metavar="DAYS", help="of a new registry: how long versions before a "
                     "deletion are kept to undo it; default: 7")  # fmt: skip


def _subject(own: argparse.ArgumentParser) -> None:
    own.add_argument("--customer", nargs="+", default=[], metavar="NAME", help="customers to forget")
    own.add_argument("--load", nargs="+", default=[], metavar="NAME", help="loads to withdraw; with --hours or "
                     "--flagged, their measurements alone")  # fmt: skip
    own.add_argument("--hours", nargs=2, action="append", default=[], metavar=("START", "END"), help="hours to forget, "
                     "such as 2013-03-01 2013-04-01, the end excluded; may be given again")  # fmt: skip
    own.add_argument("--flagged", type=Path, metavar="CSV", help="hours to forget: the column timestamp; where it has "
                     "a column flagged, the rows in which that is true")  # fmt: skip
    # Which there are, the request says: importing it would slow every call of help.
    own.add_argument("--case", metavar="CASE", help="of customers: leaves, the default, where they leave "
                     "the grid; or objects, where they stay and object to the use of their data")  # fmt: skip
    own.add_argument("--replacement", metavar="HOW", help="with --case objects: what fills the gap, class_mean (the "
                     "mean of the customer's class) or rescale (the rest of the load scaled up); default: "
                     "nothing")  # fmt: skip
