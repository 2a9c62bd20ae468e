"""Load windows from members' updates: of one member, of several local steps, of a sum, and with noise."""

from __future__ import annotations

import numpy as np

from unlearn.attacks.gradient_inversion import InversionOptions
from unlearn.attacks.member_update import UpdateRule
from unlearn.checks import FloatArray
from unlearn.data import LoadDataset
from unlearn.records import RecordTable
from unlearn.studies.federated.options import NOISY, SINGLE, STEPS, SUM, FederatedOptions
from unlearn.studies.federated.setting import Setting
from unlearn.studies.federated.windows import InversionSetting, measure_inversion

#: Days of a window; the next day is forecast.
DAYS = 7
#: Local steps of an update of several, and their learning rate.
LOCAL_STEPS, LEARNING_RATE = 5, 0.1
#: Windows of public feeders that the attacker knows, at most.
PUBLIC = 1000


def measure_inversions(setting: Setting, table: RecordTable) -> None:
    """Add errors of the attack and of guessing, for each kind of update."""
    options = setting.options
    rows = max(options.batches)
    own = [windows_of(one, rows, setting.seed) for one in setting.datasets.values()]
    windows, targets = (np.stack(part) for part in zip(*own, strict=True))
    public = windows_of(setting.public, PUBLIC, setting.seed)
    settings = settings_of(options)
    iterations = options.iterations
    attack = InversionOptions(
        steps=min(InversionOptions.steps, iterations),
        iterations=iterations,
        newton=min(InversionOptions.newton, iterations // 10),
    )
    found = measure_inversion(
        windows, targets, *public, {str(key): one for key, one in settings.items()}, "mlp", attack,
        options.inversions, seed=setting.seed,
    )  # fmt: skip
    by_name = {str(key): key for key in settings}
    for row in found:
        view, batch, noise = by_name[str(row["setting"])]
        columns = {"part": "inversion", "view": view, "batch": float(batch), "noise_multiplier": noise}
        error, guess = float(row["error"]), float(row["guess_error"])  # type: ignore[arg-type]
        table.add("error", error, "relative", **columns)
        table.add("guess", guess, "relative", **columns)
        table.add("relative", error / guess, "relative", **columns)
        table.add("correlation", float(row["correlation"]), "1", **columns)  # type: ignore[arg-type]
        table.add("seconds", float(row["seconds"]), "s", **columns)  # type: ignore[arg-type]


def settings_of(options: FederatedOptions) -> dict[tuple[str, int, float | None], InversionSetting]:
    """Attacked updates by what is seen, windows of a member, and noise."""
    made: dict[tuple[str, int, float | None], InversionSetting] = {}
    least = min(options.batches)
    for batch in options.batches:
        made[SINGLE, batch, None] = InversionSetting(batch)
    steps = UpdateRule(learning_rate=LEARNING_RATE, epochs=LOCAL_STEPS)
    made[STEPS, least, None] = InversionSetting(least, steps)
    for batch in options.batches:
        made[SUM, batch, None] = InversionSetting(batch, UpdateRule(members=options.utilities))
    for noise in options.noise_multipliers:
        made[NOISY, least, noise] = InversionSetting(least, UpdateRule(clip=1.0, noise_multiplier=noise))
    return made


def windows_of(dataset: LoadDataset, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Windows of single feeders and the days after them, from training rows, drawn at random.

    Returns:
        Loads in p.u. of the feeder's own largest, shapes (m, 24, `DAYS`) and (m, 24), with m at most n.
    """
    hours = dataset.timestamps[dataset.split.train]
    start = int(np.flatnonzero(hours.hour == 0)[0])
    load = dataset.load_pu[dataset.split.train][start:]
    load = load[: len(load) // 24 * 24] / load.max(axis=0)
    by_day = load.reshape(-1, 24, dataset.n_loads)
    pairs = [(day, b) for day in range(len(by_day) - DAYS) for b in range(dataset.n_loads)]
    chosen = np.random.default_rng((seed, 2)).permutation(len(pairs))[:n]
    picked = [pairs[i] for i in chosen]
    windows = np.stack([by_day[day : day + DAYS, :, b].T for day, b in picked])
    targets = np.stack([by_day[day + DAYS, :, b] for day, b in picked])
    return windows, targets
