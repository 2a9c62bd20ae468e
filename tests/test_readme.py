"""The README's Python runs as it stands, and its shell lines name things that exist."""

import re
import shlex
from pathlib import Path

import pytest

from experiments.groups import LAUNCHERS, PROTOCOLS, SOURCES, Group
from tests.experiments.test_config import composed
from unlearn.services.command import main

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_python_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["complete"].distance_to_retrained <= 1e-8  # type: ignore[attr-defined]
    assert names["complete"].complete  # type: ignore[attr-defined]
    assert "not complete forgetting" in capsys.readouterr().out


def test_the_first_example_has_ten_lines() -> None:
    assert len([line for line in blocks("python")[0].splitlines() if line.strip()]) == 10


def test_shell_lines_name_targets_experiments_and_choices_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", TEXT):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for name in re.findall(r"experiments\.([a-z_]+)", TEXT):
        assert (ROOT / "experiments" / f"{name}.py").is_file(), name
    for group, choice in re.findall(
        r"\b(forecaster|criterion|sweep|hydra/launcher|data|households|generator)=([a-z_0-9]+)", TEXT
    ):
        known = Group(group).choices() if group in {**PROTOCOLS, **SOURCES} else ()
        assert choice in ("none", *known) or (ROOT / "conf" / group / f"{choice}.yaml").is_file(), (group, choice)


def test_every_launcher_is_told_and_every_override_composes() -> None:
    assert set(LAUNCHERS) == set(re.findall(r"`(?:hydra/launcher=)?(joblib|submitit_[a-z]+|ray)`", TEXT))
    lines = re.findall(r"python -m experiments\.(\w+) (.*?)(?:#.*)?$", "\n".join(blocks("sh")), flags=re.MULTILINE)
    assert len(lines) >= 7
    for name, line in lines:
        words = [word for word in shlex.split(line) if word != "--multirun"]
        assert composed(name, *(word if "[" in word else word.split(",")[0] for word in words))


def test_the_command_runs_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^unlearn (.*?)(?:#.*)?$", "\n".join(blocks("sh")), flags=re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        assert main(shlex.split(line)) == 0, line
    assert (tmp_path / "certificates" / "R-000001" / "page.html").is_file()
    assert "certificates/R-000001: valid" in capsys.readouterr().out


def test_pictures_and_files_it_names_exist() -> None:
    for path in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / path).is_file(), path
    assert (ROOT / "grids" / "ieee14.yaml").is_file()
