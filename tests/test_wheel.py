"""The wheel carries what is no module: grids, the page's template, the figures' style, the mark of typed code."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_finds_its_grids_and_templates(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in ("unlearn", "grids"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("unlearn-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    for carried in (
        "py.typed",
        "grids/ieee14.yaml",
        "reporting/page.html",
        "studies/thresholds/slider.html",
        "services/certificates/certificate.html",
        "services/report.html",
        "reporting/unlearn.mplstyle",
    ):
        assert f"unlearn/{carried}" in names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "unlearn").rglob("*.py")}
    assert modules <= names
    code = "import unlearn; print(unlearn.__file__, unlearn.load_case('ieee14').n_loads)"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); {code}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(tmp_path / "installed") in done.stdout
    assert done.stdout.split()[-1] == "14"
