"""Command line of the generator: `python -m unlearn.generators.feeder --help`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from unlearn.errors import UnlearnError
from unlearn.generators.feeder.config import GeneratorConfig
from unlearn.generators.feeder.meters import CHUNK_METERS
from unlearn.generators.feeder.pipeline import SyntheticDataPipeline


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def _shares(text: str) -> dict[str, float]:
    """Parse `name=share,name=share`."""
    pairs = [item.partition("=") for item in text.split(",")]
    try:
        return {name.strip(): float(share) for name, _, share in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected name=probability,name=probability, got {text!r}") from None


def _range(text: str) -> tuple[float, float]:
    """Parse `low,high`."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected low,high, got {text!r}") from None
    return low, high


def _parser() -> argparse.ArgumentParser:
    default = GeneratorConfig()
    parser = _Parser(
        prog="python -m unlearn.generators.feeder",
        description="Generate transformers, meters with monthly consumption, and labelled anomalies.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--num-transformers", type=int, default=default.num_transformers, help="1 to 9999")
    add("--num-meters", type=int, default=default.num_meters, help="meters of all transformers")
    add("--num-months", type=int, default=default.num_months, help="months of consumption")
    add("--anomaly-rate", type=float, default=default.anomaly_rate, help="share of anomalous meters, below 1")
    add("--seed", type=int, default=default.random_seed, help="the same seed gives the same bytes")
    add("--output-dir", default=default.output_dir, help="folder; an earlier run in it is replaced")
    add("--last-month", default=default.last_month, help="last month of consumption")
    add("--num-feeders", type=int, default=default.num_feeders, help="1 to 99")
    add("--customer-classes", type=_shares, default=default.customer_classes, metavar="NAME=P,...", help="shares")
    add("--anomaly-types", type=_shares, default=default.anomaly_types, metavar="NAME=P,...", help="shares")
    add("--lat", type=_range, default=default.geo_bounds["lat"], metavar="LOW,HIGH", help="bounds in degrees")
    add("--lon", type=_range, default=default.geo_bounds["lon"], metavar="LOW,HIGH", help="bounds in degrees")
    add("--parquet", action="store_true", help="write tables as parquet, too")
    add("--hourly", action="store_true", help="write the hours of every meter, too")
    add("--grid", default=None, metavar="CASE", help="write the hourly loads of this grid's buses, too")
    add("--chunk-meters", type=int, default=CHUNK_METERS, help="meters in memory at once; changes no byte")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate what the arguments ask for; return the exit status: 0, or 2 with one sentence on stderr."""
    given = vars(_parser().parse_args(arguments))
    chunk_meters = given.pop("chunk_meters")
    given["random_seed"] = given.pop("seed")
    given["geo_bounds"] = {"lat": given.pop("lat"), "lon": given.pop("lon")}
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        SyntheticDataPipeline(GeneratorConfig(**given), chunk_meters).run()
    except (UnlearnError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
