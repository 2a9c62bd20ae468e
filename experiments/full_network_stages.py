"""The parts of `full_network`: networks, refits, predictions. Each is kept on disk; a second call makes the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

import unlearn
from experiments.app import Job
from experiments.loads import build_dataset
from experiments.settings import plain
from unlearn.errors import DataError, InputError
from unlearn.records import (
    RecordTable,
    config_hash,
    provenance,
    read_safetensors,
    source_fingerprint,
    write_safetensors,
)
from unlearn.store import discard, kept, verify
from unlearn.studies.full_network.curvature import (
    Prediction,
    assess,
    predict_gauss_newton,
    predict_head,
    predict_hessian,
    refit_head,
    require_conditions,
    selection_scores,
)
from unlearn.studies.full_network.groups import Group, kept_rows, plan_groups
from unlearn.studies.full_network.measure import NOISE, NUDGE, SeedStudy, Truth, measure_seed
from unlearn.studies.full_network.problem import NetworkProblem

log = logging.getLogger(__name__)

#: Rooms of the library whose source the kept parts depend on.
ROOMS = ("data", "linalg", "forecasters", "influence", "unlearning", "studies")


class FullNetworkRun:
    """One run: its problem, its groups, and its parts on disk."""

    def __init__(self, job: Job) -> None:
        own = job.full_network
        for name in ("conditions", "hessian_conditions"):
            require_conditions(f"full_network.{name}", getattr(own, name))
        require_conditions("full_network.selection_condition", [own.selection_condition])
        if job.protocol != "fair":
            raise InputError("full_network: expected protocol=fair, which selects groups by validation rows.")
        self.own = own
        self.dataset = build_dataset(job, job.grid.build())
        self.problem = NetworkProblem.draw(self.dataset, own.rows, own.architecture, own.training, job.split.seed)
        library = Path(unlearn.__file__).parent
        made_of = [provenance()["versions"]["torch"], *(source_fingerprint(library / room) for room in ROOMS)]
        # More conditions need no other refits.
        neutral = ("conditions", "hessian_conditions")
        settings = {name: value for name, value in plain(own, neutral=False).items() if name not in neutral}
        settings["rows_seed"] = job.split.seed
        key = config_hash({**settings, "data": self.dataset.fingerprint, "made_of": made_of})
        self.parts = Path(own.folder) / "parts" / key

    def file(self, name: str) -> Path:
        return self.parts / f"{name}.safetensors"

    def missing(self, name: str) -> bool:
        """Whether a part is not kept; a damaged one is removed."""
        try:
            verify(self.file(name))
        except DataError:
            discard(self.file(name))
            return True
        return False

    def part(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Read a part, or make and keep it."""
        file = self.file(name)

        def write() -> None:
            start = time.perf_counter()
            write_safetensors(make(), file)
            log.info("%s done in %.1f s", name, time.perf_counter() - start)

        return kept(file, lambda: read_safetensors(file), write)

    @cached_property
    def originals(self) -> Tensor:
        """θ* of every seed, shape (seeds, P)."""
        seeds = self.own.seeds
        everything = torch.ones((len(seeds), self.problem.n_trained), dtype=torch.bool)
        return self.part(
            "originals", lambda: {"theta": self.problem.fit(self.problem.initial(seeds), everything, seeds)}
        )["theta"]

    @cached_property
    def groups(self) -> list[Group]:
        """Groups of rows, the same for all seeds; helpful and harmful by the mean score over seeds."""
        own = self.own

        def scores() -> dict[str, Tensor]:
            found = [selection_scores(self.problem, theta, own.selection_condition) for theta in self.originals]
            return {"scores": torch.from_numpy(np.stack(found))}

        mean = self.part("scores", scores)["scores"].mean(dim=0).numpy()
        return plan_groups(mean, own.shares, own.repeats, own.singles, own.subsets)

    def refits(self, name: str, start: Tensor, keep: Tensor, seeds: Sequence[int], warm: bool = False) -> Tensor:
        """Test forecasts of refits, trained `together` at a time and kept as they end; shape (M, hours, B)."""
        training = replace(self.problem.training, epochs=self.own.warm_epochs) if warm else None
        outputs = []
        for first in range(0, len(seeds), self.own.together):
            rows = slice(first, first + self.own.together)

            def fit(rows: slice = rows) -> dict[str, Tensor]:
                # Trained in float32, so nothing is lost.
                return {"theta": self.problem.fit(start[rows], keep[rows], seeds[rows], training).float()}

            theta = self.part(f"{name}-{first}", fit)["theta"].double()
            outputs.append(self.problem.forecasts(theta))
        return torch.cat(outputs)

    def truths(self, seed: int, theta: Tensor) -> dict[str, Truth]:
        keep = kept_rows(self.groups, self.problem.n_trained)
        everything = torch.ones_like(keep[:1])
        (initial,) = self.problem.initial([seed])
        (control,) = self.problem.forecasts(theta[None])
        scratch = self.refits(f"scratch-{seed}", initial.expand(len(keep), -1), keep, [seed] * len(keep))
        n_warm = sum(group.use != "subset" for group in self.groups)
        masks = torch.cat([everything, keep[:n_warm]])
        warm = self.refits(f"warm-{seed}", theta.expand(len(masks), -1), masks, [seed] * len(masks), warm=True)
        heads = refit_head(self.problem, theta, torch.cat([everything, keep]))
        return {
            "scratch": Truth(control, scratch),
            "warm": Truth(warm[0], warm[1:]),
            "exact": Truth(heads[0], heads[1:]),
        }

    def noise(self, seed: int) -> dict[str, Tensor]:
        """Refits on all rows: other orders, other initial weights, initial weights moved a little."""
        count = self.own.noise
        others = [1000 * (seed + 1) + number for number in range(count)]
        (initial,) = self.problem.initial([seed])
        random = torch.Generator().manual_seed(seed)
        nudges = torch.randn((count, len(initial)), generator=random, dtype=torch.float64)
        start = torch.cat([initial.expand(count, -1), self.problem.initial(others), initial * (1 + NUDGE * nudges)])
        keep = torch.ones((3 * count, self.problem.n_trained), dtype=torch.bool)
        outputs = self.refits(f"noise-{seed}", start, keep, [*others, *[seed] * (2 * count)])
        return dict(zip(NOISE, outputs.split(count), strict=True))

    def predictions(self, seed: int, theta: Tensor) -> Iterator[Prediction]:
        """Of the network's two curvatures and of the head, each condition kept on disk as it ends."""
        own, problem = self.own, self.problem
        stepped = {i: group.rows for i, group in enumerate(self.groups) if group.use in ("group", "choice")}
        yield predict_head(problem, theta, stepped, own.blocks)
        for method, predict, conditions in (
            ("gauss_newton", predict_gauss_newton, own.conditions),
            ("hessian", predict_hessian, own.hessian_conditions),
        ):
            names = {condition: f"{method}-{seed}-{condition:g}" for condition in conditions}
            missing = [condition for condition, name in names.items() if self.missing(name)]
            made = predict(problem, theta, stepped, missing, own.blocks) if missing else iter(())
            for condition, name in names.items():
                kept = self.part(name, lambda made=made: _to_tensors(next(made)))  # type: ignore[misc]
                damping = float(kept["damping"])
                yield Prediction(method, condition, damping, kept["scores"], list(stepped), kept["outputs"])

    def records(self) -> pd.DataFrame:
        """Make what is missing and measure everything."""
        common = {"experiment": "full_network", "data": self.dataset.name, "forecaster": self.own.architecture}
        table = RecordTable(**common, protocol="fair")
        for seed, theta in tqdm(list(zip(self.own.seeds, self.originals, strict=True)), desc="seeds"):
            truths, noise = self.truths(seed, theta), self.noise(seed)
            study = SeedStudy(seed, truths, noise, list(self.predictions(seed, theta)))
            measure_seed(self.problem, self.groups, study, self.own.blocks, table)
        table.add("rows", self.problem.n_trained, "rows")
        assess(table.to_frame(), table)
        return table.to_frame()


def _to_tensors(prediction: Prediction) -> dict[str, Tensor]:
    damping = torch.tensor(prediction.damping, dtype=torch.float64)
    return {"damping": damping, "scores": prediction.scores, "outputs": prediction.outputs}
