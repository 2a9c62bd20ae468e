"""The core tests under other settings of one machine: kernels, threads, order, clock, language, seeds.

`python -m tests.portable` runs every setting, goes on after a red one, and ends with a line per setting. A setting
changes several things that do not touch each other, because a run takes minutes. `--only NAME` picks settings, `--list`
says what is in effect in each; the rest goes to pytest: `python -m tests.portable --only nehalem tests/linalg`.
"""

import argparse
import locale
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
GERMAN = "de_DE.UTF-8"
CORE = "not network and not extras and not slow and not attacks and not ray"
SUMMARY = re.compile(r"^=*\s?((?:\d+ \w+,? ?)+) in [\d.]+s")


@dataclass(frozen=True)
class Setting:
    """One run of the core tests.

    Args:
        name: What `--only` takes.
        seed: The order of the tests and the examples of hypothesis follow from it.
        threads: What OMP_NUM_THREADS says.
        variables: What else the environment says.
        stranger: Whether the home folder is an empty one and files are made for their owner only.
    """

    name: str
    seed: int
    threads: int
    variables: Mapping[str, str] = field(default_factory=dict)
    stranger: bool = False


#: Threads that wait for work leave the core to other workers of pytest, which are as many as there are cores.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_THREAD_TIMEOUT": "4"}

# OPENBLAS_CORETYPE moves NumPy and SciPy, ATEN_CPU_CAPABILITY torch's own loops, MKL_CBWR its linear algebra,
# ONEDNN_MAX_CPU_ISA its layers. Two threads are tried on the kernels of most machines.
SETTINGS = (
    Setting("haswell", 1, 2, {"OPENBLAS_CORETYPE": "Haswell"}),
    Setting("nehalem", 2, 1, {"OPENBLAS_CORETYPE": "Nehalem"}),
    Setting("aten-default", 3, 1, {"ATEN_CPU_CAPABILITY": "default"}),
    Setting("mkl-compatible", 4, 1, {"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Setting("lord-howe", 5, 1, {"TZ": "Australia/Lord_Howe", "LC_ALL": GERMAN}, stranger=True),
)


def pytest_configure() -> None:
    """As a plugin: speaks the language of the environment, as a program that embeds Python does."""
    locale.setlocale(locale.LC_ALL, "")


def described() -> str:
    """What is really in effect in this process. torch tells its libraries' kernels on standard output by itself."""
    import numpy as np
    import scipy.linalg  # noqa: F401  -- loads its own OpenBLAS
    import torch
    from threadpoolctl import threadpool_info

    layer = torch.nn.Conv2d(8, 8, 3)
    with torch.no_grad():
        torch.eye(64, dtype=torch.float64) @ torch.eye(64, dtype=torch.float64)
        layer(torch.ones(8, 8, 32, 32))
    try:
        locale.setlocale(locale.LC_ALL, "")
        number = locale.format_string("%.1f", 1.5)
    except locale.Error:
        number = "no such locale"
    blas = [info for info in threadpool_info() if info["internal_api"] == "openblas"]
    threads = {torch.get_num_threads(), *(info["num_threads"] for info in blas)}
    facts = {
        "OpenBLAS": ", ".join(f"{Path(info['filepath']).parent.name} {info['architecture']}" for info in blas),
        "ATen": torch.backends.cpu.get_cpu_capability(),
        "threads of torch and OpenBLAS": ", ".join(map(str, sorted(threads))),
        "clock": f"{time.tzname[0]}, {time.tzname[1]}",
        "language": f"1.5 reads {number}",
        "home": str(Path.home()),
        "NumPy, torch": f"{np.__version__}, {torch.__version__}",
    }
    return "\n".join(f"  {name}: {value}" for name, value in facts.items())


def header(environment: Mapping[str, str]) -> str:
    """What `described` says in a process of this environment, with MKL's and oneDNN's own words."""
    asked = {**environment, "MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"}
    command = [sys.executable, "-c", "from tests.portable import described; print(described())"]
    said = subprocess.run(command, env=asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    facts = "\n".join(line for line in said.splitlines() if line.startswith("  "))
    found = (re.search(pattern, said) for pattern in (r"CNR:(\S+)", r"cpu,isa:(.+)"))
    mkl, onednn = (match[1] if match else "not told" for match in found)
    return f"{facts}\n  MKL reproducibility: {mkl}\n  oneDNN: {onednn}"


def german(folder: Path) -> dict[str, str]:
    """What finds the German locale: nothing where it is installed, else a folder where localedef has made it."""
    listed = subprocess.run("locale -a", shell=True, capture_output=True, text=True, check=False).stdout
    if {"de_de.utf8", GERMAN.lower()} & set(listed.lower().split()):
        return {}
    if shutil.which("localedef"):
        subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", folder / GERMAN], capture_output=True, check=False)
    if (folder / GERMAN).exists():
        print(f"  {GERMAN} is not installed (locale -a); localedef made it in {folder}")
        return {"LOCPATH": str(folder)}
    print(f"  {GERMAN} is not on this machine, so numbers and dates stay English; install it with")
    print("  apt-get install locales && localedef -i de_DE -f UTF-8 de_DE.UTF-8")
    return {"LC_ALL": "C.UTF-8"}


def run(setting: Setting, arguments: list[str]) -> tuple[int, str, list[str]]:
    """Runs one setting; gives pytest's code, its line of counts and the tests that failed."""
    print(f"\n== {setting.name}: {' '.join(f'{k}={v}' for k, v in setting.variables.items())}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **PASSIVE, **setting.variables, "OMP_NUM_THREADS": str(setting.threads)}
        if "LC_ALL" in setting.variables:
            environment |= german(Path(folder))
        if setting.stranger:
            environment["HOME"] = folder
        print(header(environment), flush=True)
        command = [sys.executable, "-m", "pytest", "-p", "tests.portable", "-n", "auto", "--dist", "worksteal"]
        command += ["-m", CORE, "-rfE", "--random-order", f"--random-order-seed={setting.seed}"]
        command += ["--hypothesis-profile=seeded", f"--hypothesis-seed={setting.seed}", *arguments]
        print(" ", " ".join(command[1:]), flush=True)
        umask = 0o077 if setting.stranger else -1
        with subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, umask=umask
        ) as job:
            lines = []
            for line in job.stdout or ():
                print(line, end="", flush=True)
                lines.append(line.strip())
    counts = next((match[1] for line in reversed(lines) if (match := SUMMARY.match(line))), "no summary")
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return job.returncode, counts, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[setting.name for setting in SETTINGS], help="a setting")
    parser.add_argument("--list", action="store_true", help="says what is in effect, and runs no test")
    chosen, arguments = parser.parse_known_args()
    settings = [setting for setting in SETTINGS if not chosen.only or setting.name in chosen.only]
    if chosen.list:
        arguments.append("--collect-only")
    results = {setting.name: run(setting, arguments) for setting in settings}
    print("\n== all settings")
    for name, (code, counts, failed) in results.items():
        print(f"{name:15} {'green' if code == 0 else 'RED'}: {counts}")
        print(*(f"    {line}" for line in failed), sep="\n", end="\n" if failed else "")
    return int(any(code for code, _, _ in results.values()))


if __name__ == "__main__":
    sys.exit(main())
