"""The command line: the documented flags, one sentence and status 2 for what cannot be done."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.generators.feeder.builders import digests
from unlearn.generators.feeder import GeneratorConfig, SyntheticDataPipeline
from unlearn.generators.feeder.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTED = "--num-transformers 100 --num-meters 5000 --num-months 24 --anomaly-rate 0.08 --seed 123"


def test_the_documented_command(tmp_path: Path) -> None:
    folder = tmp_path / "custom_output"
    command = [sys.executable, "-m", "unlearn.generators.feeder", *DOCUMENTED.split(" "), "--output-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Wrote {folder / 'generation_report.txt'}\n"
    assert done.stderr == ""
    config = GeneratorConfig(
        num_transformers=100, num_meters=5000, num_months=24, anomaly_rate=0.08, random_seed=123,
        output_dir=tmp_path / "again",
    )  # fmt: skip
    assert digests(folder) == digests(SyntheticDataPipeline(config).run())


def test_every_flag_reaches_the_configuration(tmp_path: Path) -> None:
    flags = (
        "--num-transformers 20 --num-meters 300 --num-months 2 --last-month 2024-02 --num-feeders 1 --parquet --hourly "
        "--customer-classes residential=0.5,industrial=0.5 --anomaly-types spike=0.5,night_bypass=0.5 "
        "--anomaly-rate 0.5 --grid ieee9 --lat=-34.5,-34.3 --lon=-58.5,-58.2 --chunk-meters 1"
    )
    assert main([*flags.split(), "--output-dir", str(tmp_path / "out")]) == 0
    meters = pd.read_csv(tmp_path / "out" / "meter_consumption.csv")
    assert list(meters.filter(like="monthly")) == ["monthly_consumption_202401", "monthly_consumption_202402"]
    assert set(meters["customer_class"]) == {"residential", "industrial"}
    assert meters["lat"].between(-34.5, -34.3).all()
    assert meters["lon"].between(-58.5, -58.2).all()
    assert set(pd.read_csv(tmp_path / "out" / "anomaly_labels.csv")["anomaly_type"]) == {"spike", "night_bypass"}
    assert set(pd.read_csv(tmp_path / "out" / "transformers.csv")["feeder_id"]) == {"FD_01"}
    assert (tmp_path / "out" / "hourly_consumption.parquet").is_file()
    assert (tmp_path / "out" / "bus_loads.parquet").is_file()
    assert (tmp_path / "out" / "transformers.parquet").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--num-meters 0", "num_meters: expected a whole number from 1"),
        ("--num-meters many", "argument --num-meters: invalid int value: 'many'"),
        ("--anomaly-rate 1", "anomaly_rate"),
        ("--anomaly-types ghost=1", "anomaly_types: expected one of"),
        ("--customer-classes residential", "expected name=probability"),
        ("--customer-classes residential=0.9", "must sum to 1.0"),
        ("--lat=1", "expected low,high"),
        ("--lat=2,1", "geo_bounds lat"),
        ("--grid ieee15", "no such case"),
        ("--num-meter 10", "unrecognized arguments"),
        ("--output-dir {file}", "expected a folder, got a file"),
        ("--output-dir {file}/out", "expected a folder above it, got the file"),
    ],
)
def test_errors_are_one_sentence_and_status_2(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    try:
        status = main(flags.format(file=tmp_path / "file").split())
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_help_names_every_documented_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for flag in ("num-transformers", "num-meters", "num-months", "anomaly-rate", "seed", "output-dir"):
        assert f"--{flag}" in text
