"""Private training in the tiny mode: the generator by itself, the sweep over ε, what is kept and refused."""

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.private_training import build_private_training
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.generators import load_faraday
from unlearn.generators.faraday import PrivateFaradayGenerator, private
from unlearn.generators.faraday.generators import ledger_of
from unlearn.households import load_profiles
from unlearn.households.io.sources import load_households
from unlearn.studies.private_training import PrivateTrainingOptions, report

#: A private generator of a start that is fitted in a second, in few steps.
QUICK_GENERATOR = [
    "generator=private_faraday",
    "generator.steps=4",
    "generator.vae.epochs=2",
    "generator.simulated.n_households=10",
    "generator.simulated.n_days=120",
]

#: The same of few households.
QUICK = [
    *QUICK_GENERATOR,
    "households.n_households=20",
    "households.n_days=100",
    "synthesis.profiles=600",
    "synthesis.seeds=[0]",
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where start and releases are kept for all of these tests."""
    return tmp_path_factory.mktemp("kept")


@pytest.mark.extras
def test_a_private_release_is_written_with_what_it_spent(run: Runner, kept: Path) -> None:
    folder = run("release", *QUICK, f"synthesis.folder={kept}")
    release = load_profiles(folder / "profiles.parquet")
    model = load_faraday(folder / "model")
    assert model.sample(600, 0).fingerprint == release.fingerprint
    privacy = json.loads((folder / "model" / "card.json").read_text())["privacy"]
    assert 0.99 < privacy["epsilon"] <= 1.0
    assert privacy["not_covered"] == []
    assert len(list((kept / "start").iterdir())) == 1
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder / "model", kept / "release")] == [0o755, 0o700]


@pytest.mark.extras
def test_the_sweep_says_what_privacy_costs_and_goes_on_where_it_stopped(
    run: Runner, kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn.attacks.outcome.N_BOOTSTRAP", 40)  # seconds, and intervals are not asked
    settings = [
        *QUICK,
        "private_training.overfit.fits=1",
        f"synthesis.folder={kept}",
        "grid=ieee9",
        "private_training.utility.hours=6",
        "private_training.forecast.hours=6",
    ]
    folder = run("private_training", *settings)
    said = capsys.readouterr().out
    assert "Every promise is kept" in said
    assert "no household seen" in said
    records = pd.read_parquet(folder / "records.parquet")
    ways = set(zip(records["method"], records["epsilon"], strict=True))
    assert ways == {("private", 1.0), ("without noise", np.inf), ("start", 0.0), ("not private", np.inf)}
    assert set(records["part"]) == {"fidelity", "utility", "attack", "accounting", "outliers", "household_load"}
    spent = records[(records["method"] == "private") & (records["metric"] == "epsilon_pld")]["value"]
    assert (spent <= 1).all()
    page = read_page(folder / "index.html")
    assert_self_contained(page)
    assert (folder / "private_training.png").stat().st_size > 20_000

    files = {file: file.stat().st_mtime_ns for file in kept.rglob("*") if file.is_file()}
    lost = next(folder for folder in (kept / "private_training").iterdir() if folder.name.startswith("private"))
    shutil.rmtree(lost)  # as if interrupted
    for drawn in ("save", "write_page"):  # they were looked at above
        monkeypatch.setattr(report, drawn, lambda *_: (folder / "index.html").touch())
    again = run("private_training", *settings)
    pd.testing.assert_frame_equal(pd.read_parquet(again / "records.parquet"), records)
    assert all(file.stat().st_mtime_ns == then for file, then in files.items() if lost not in file.parents)


def test_the_configured_sweep_is_the_librarys_default() -> None:
    config = composed("private_training", "generator.noise=simulated", "households.n_households=20")
    assert build_private_training(config).options == PrivateTrainingOptions()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("generator=faraday", "private_faraday, got faraday"),
        ("private_training.epsilons=[]", "at least one, each once"),
        ("private_training.epsilons=[1,1]", "at least one, each once"),
        ("private_training.epsilons=[1,-2]", r"privacy\.epsilon"),
        ("private_training.leakage.attacks=[poetry]", "attack: expected one of distance"),
        ("generator.clip=0", "clip"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused_before_anything_is_trained(override: str, message: str) -> None:
    settings = [setting for setting in QUICK if not override.startswith("generator=f") or "generator" not in setting]
    with pytest.raises(InputError, match=message):
        build_private_training(composed("private_training", "variant=tiny", *settings, override))


@pytest.mark.extras
def test_simulated_noise_repeats_and_says_that_it_protects_nobody(run: Runner, kept: Path) -> None:
    def card(*overrides: str) -> dict:
        written = run("release", *QUICK, *overrides, f"synthesis.folder={kept}")
        settings = json.loads((written / "run.json").read_text())
        assert "secret" not in json.dumps(settings)
        return json.loads((written / "model" / "card.json").read_text())["privacy"] | {
            "release": load_profiles(written / "profiles.parquet").fingerprint
        }

    assert card()["noise"] == "os"
    others = set((kept / "release").iterdir())
    first = card("generator.noise=simulated", "seed=7")
    for made in set((kept / "release").iterdir()) - others:
        shutil.rmtree(made)
    assert card("generator.noise=simulated", "seed=7") == first
    assert (first["noise"], first["private"]) == ("simulated", False)
    assert "protects nobody" in first["caveats"][0]


@pytest.mark.extras
def test_a_seed_of_noise_is_refused_for_meters(tmp_path: Path) -> None:
    wh = np.ones((48 * 20, 8), dtype=np.uint16)
    names = np.asarray([f"H{i}" for i in range(8)])
    labels = {"ids": names, "tariff": names, "acorn_grouped": np.repeat("a", 8)}
    np.savez(tmp_path / "m.npz", kwh_x1000=wh, start=np.asarray(["2013-01-01"]), **labels)
    config = composed(
        "release", *QUICK[:2], "generator.noise=simulated", "households=npz", f"households.path={tmp_path / 'm.npz'}"
    )
    generator, train = config.generator, load_households(config.households)
    with pytest.raises(InputError, match=r'expected "os" for m, got a seed'):
        generator.release(train, 10, shared=tmp_path)
    assert not (tmp_path / "start").exists()
    with pytest.raises(InputError, match=r"generator\.noise: expected one of os, simulated"):
        PrivateFaradayGenerator(noise="secret")


@pytest.mark.extras
def test_a_private_fit_that_is_killed_does_not_go_on_and_stays_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed("release", *QUICK, "generator.start=nothing", "households.n_days=10")
    train, generator, steps = load_households(config.households), config.generator, 0
    whole = private.train_privately

    def killed(*args: object) -> None:
        nonlocal steps
        steps += 1
        raise KeyboardInterrupt

    def fitted() -> dict:
        return generator.fit(train, 0, tmp_path).card["privacy"]

    monkeypatch.setattr(private, "train_privately", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted()
    assert steps == 1
    assert [file.name for file in tmp_path.iterdir()] == ["charges.jsonl"]
    monkeypatch.setattr(private, "train_privately", whole)
    assert fitted()["charged"] == {"epsilon": 2.0, "delta": pytest.approx(0.01), "fits": 2, "unfinished": 1}
    # What is no promise is charged nothing.
    generator = replace(generator, noise="simulated")
    assert "charged" not in fitted()
    assert ledger_of(tmp_path).of(train.households["household_id"]).fits == 2
