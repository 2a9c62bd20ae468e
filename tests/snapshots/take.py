"""Write the tables of every experiment in its tiny mode: `python -m tests.snapshots.take FOLDER`.

Two such folders, of two states of the source on one machine, are compared with `python -m tests.snapshots.compare`;
`make snapshots BEFORE=COMMIT` does all of it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

#: Hours that are priced of households' loads.
HOURS = ("private_training.utility.hours=24", "private_training.forecast.hours=24")

#: Name of a snapshot: the program, and what is said to it. Names stay when programs and settings move.
RUNS: dict[str, tuple[str, ...]] = {
    "train_linear": ("train", "forecaster=linear"),
    "train_cnn": ("train", "forecaster=cnn"),
    "train_mixer": ("train", "forecaster=mixer"),
    "influence_mse": ("influence", "criterion=mse"),
    "influence_cost_cnn": ("influence", "criterion=cost", "forecaster=cnn"),
    "unlearn_none": ("unlearn", "criterion=none"),
    "unlearn_mse": ("unlearn", "criterion=mse", "tuning=none"),
    "unlearn_cost": ("unlearn", "criterion=cost", "tuning=none"),
    "unlearn_scale": ("unlearn", "criterion=cost"),
    "unlearn_random_cnn": ("unlearn", "criterion=mape", "tuning=none", "forecaster=cnn", "unlearning.selection=random"),
    "unlearn_harmful_mixer": ("unlearn", "criterion=none", "forecaster=mixer", "unlearning.selection=harmful"),
    "tradeoff_published": ("tradeoff", "protocol=published"),
    "tradeoff_cnn": ("tradeoff", "forecaster=cnn"),
    "sensitivity": ("sensitivity",),
    "grid_ieee30": ("train", "grid=ieee30"),
    "paper": ("paper", "paper.folder=paper"),
    "full_network": ("full_network", "grid=ieee9"),
    "unlearning_audit": ("deletion",),
    "poisoning": ("poisoning",),
    "tuning": ("tuning",),
    "customers": ("customers",),
    "dp_release": ("dp_release", "dp_release.noise=simulated"),
    "anonymize": ("anonymize", "grid=ieee9", "anonymize.seeds=[0]"),
    "federated": ("federated", "grid=ieee9"),
    "comparison": ("comparison", "comparison.noise=simulated"),
    "anomaly": ("detection",),
    "thresholds": ("thresholds", "thresholds.run=anomaly"),
    "synthesize_faraday": ("release", "generator=faraday"),
    "synthesize_feeder": ("release", "generator=feeder"),
    "synthesize_private": ("release", "generator=private_faraday", "generator.noise=simulated"),
    "synthesize_gaussian": ("release", "generator=independent_gaussian"),
    "synthesize_resampled": ("release", "generator=resampled"),
    "synthesize_shuffled": ("release", "generator=shuffled_hours"),
    "synthesize_simulator": ("release", "generator=simulator"),
    "fidelity": ("fidelity", "generator=faraday"),
    "utility": ("utility", "generator=faraday", "utility.hours=24"),
    "attack": ("leakage", "generator=faraday"),
    "private_training": ("private_training", "generator.noise=simulated", "grid=ieee9", *HOURS),
    "collect": ("collect", "records=[train_linear,train_cnn]"),
}  # fmt: skip

#: Programs that need packages of an extra: without those they are left out, and said so.
NEEDS = {"private_training": "dp_accounting", "synthesize_private": "dp_accounting"}


def take(folder: Path, names: list[str]) -> None:
    """Run programs in a folder of their own and keep each one's tables in FOLDER/NAME."""
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        for name in (bar := tqdm(names, unit="run")):
            bar.set_postfix_str(name)
            start = time.perf_counter()
            program, *said = RUNS[name]
            with _quiet(Path(f"{name}.log")):
                _run(program, [*smaller(program), *said, f"hydra.run.dir={name}"])
            target = folder / name
            shutil.rmtree(target, ignore_errors=True)
            for source in (Path(name), Path(f"{name}-internal")):
                for table in sorted(source.rglob("*.parquet")):
                    if "parts" not in table.parts:
                        kept = target / table.relative_to(source)
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(table, kept)
            tqdm.write(f"{name}: {time.perf_counter() - start:.1f} s")


def smaller(program: str) -> list[str]:
    """What makes a run of a program small. Networks train alike to 1e-12 only on one thread."""
    sections = importlib.import_module(f"experiments.{program}").main.program.sections
    sizes = {"data": "data.n_hours=600", "evaluation": "evaluation.hours=24"}
    tiny = ["variant=tiny"] if {"data", "households", "thresholds"} & set(sections) else ["tiny=true"]
    return [*tiny, "threads=1", *(said for section, said in sizes.items() if section in sections)]


def _run(program: str, overrides: list[str]) -> None:
    sys.argv = [program, *overrides]
    importlib.import_module(f"experiments.{program}").main()


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Keep a program's output from the screen; it is shown where the program fails."""
    with log.open("w") as stream:
        try:
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                yield
        except BaseException:
            stream.flush()
            sys.stderr.write(log.read_text())
            raise
        finally:
            for handler in logging.getLogger().handlers[:]:
                logging.getLogger().removeHandler(handler)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=RUNS, help="these, in their order")
    asked = parser.parse_args()
    names = [name for name in RUNS if not asked.only or name in asked.only]
    absent = [name for name in names if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None]
    for name in absent:
        sys.stderr.write(f"{name} is left out: {NEEDS[name]} is not installed (make .venv/.extras)\n")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    take(asked.folder, [name for name in names if name not in absent])


if __name__ == "__main__":
    main()
