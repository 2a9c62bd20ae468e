"""What every entry point shares: typed configuration, threads, provenance, clear errors, jobs that are not repeated."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import os
import platform
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from experiments import leave
from experiments.endings import Ending, summary, tell
from experiments.groups import COMMON, Program, identity, program_named
from experiments.refusals import CONF, explain, require_complete, require_known
from unlearn.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

#: Exit code of a program that Ctrl-C has ended, as shells have it.
INTERRUPTED = 130

_FULL_ERROR = "HYDRA_FULL_ERROR"


class Job(Protocol):
    """The settings of a run: an attribute for each section of its program beside these."""

    threads: int
    tiny: bool
    settings: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        """A section."""
        ...


Task = Callable[[Job, Path], Ending | None]


def experiment(
    *,
    keeps: Callable[[Job], str] | None = None,
    owner_only: bool = False,
    releases: bool = False,
    **sections: Any,
) -> Callable[[Task], Callable[[], None]]:
    """Turn `task(job, folder)` into a Hydra program that writes a card beside its results.

    Its configuration is `conf/NAME.yaml`, NAME being its module, over the defaults of its sections; that of a program
    of one's own is in the folder `conf` beside it. A single run ends with what `task` returns: three numbers and a
    page. A job of a sweep that is complete in its folder already is not run again. Errors that have a remedy, and
    Ctrl-C, end with one sentence; HYDRA_FULL_ERROR=1 shows their traceback.

    Args:
        keeps: the folder whose finished parts a second call goes on with; None if there are none.
        owner_only: it measures real data without noise: nobody but the owner may enter its folder.
        releases: its folder is handed over, so that its card tells nothing of real data.
        **sections: attributes of the job: each a class of options, a `Group`, or a default value. A task imports what
            it computes with when it is called, so that help and composition load neither PyTorch nor pandas.
    """

    def decorate(task: Task) -> Callable[[], None]:
        from unlearn.store.dependencies import roots

        file = Path(inspect.getfile(task)).resolve()
        conf = CONF if Path(CONF, f"{file.stem}.yaml").exists() else str(file.parent / "conf")
        own = Program(file.stem, {**COMMON, **sections}, conf)
        module = roots(task)[0]  # where this process runs it; another one may be sent the task without its module

        @hydra.main(version_base="1.3", config_path=conf, config_name=own.name)
        @functools.wraps(task)
        def program(raw: DictConfig) -> None:
            _run(task, own, raw, keeps, module, owner_only=owner_only, releases=releases)

        @functools.wraps(task)
        def main() -> None:
            own.register()
            with _sentences():
                program()

        main.program = own  # type: ignore[attr-defined]
        return main

    return decorate


def _run(
    task: Task,
    own: Program,
    raw: DictConfig,
    keeps: Callable[[Job], str] | None,
    module: str,
    *,
    owner_only: bool,
    releases: bool,
) -> None:
    """Run one job: a single run, or one of a sweep."""
    start = time.perf_counter()
    hydra_own = HydraConfig.get()
    folder = Path(hydra_own.runtime.output_dir)
    sweeping = hydra_own.mode == RunMode.MULTIRUN
    try:
        job = to_job(own, raw)
        _enter(Path(hydra_own.runtime.cwd))
        import torch
        from threadpoolctl import threadpool_limits

        from experiments.jobs import CARD, dependencies, is_complete
        from unlearn.records import config_hash
        from unlearn.store import only_for_owner, sweep

        torch.set_num_threads(job.threads)
        # Nobody asks a single run whether it is complete.
        depends = {"dependencies": dependencies(job, module)} if sweeping else {}
        if sweeping and is_complete(folder, {"config_hash": config_hash(identity(job)), **depends}):
            log.info("complete already, not run again: %s", folder)
            return
        if owner_only:
            only_for_owner(folder)
        for kept in {folder, *(Path(own) for own in (getattr(job, "store", folder), keeps(job) if keeps else folder))}:
            sweep(kept)
        # Without a card while it runs: an interrupted run is not taken for the one before.
        (folder / CARD).unlink(missing_ok=True)
        # Bars make room for what is logged.
        with threadpool_limits(job.threads), logging_redirect_tqdm():
            ending = task(job, folder)
        ran = {"seconds": round(time.perf_counter() - start, 1), **depends}
        # Both depend on the data, which a folder that is handed over must not tell of: such a job of a sweep is run
        # again, with what is kept of it.
        write_card(job, folder, **({} if releases else ran), **summary(ending))
    except KeyboardInterrupt:
        if sweeping:
            raise
        raise KeyboardInterrupt(_goes_on(keeps(job)) if keeps else _STARTS_AGAIN) from None
    except Exception as error:
        said = explain(error)
        if said is None:
            raise
        log.error("%s: %s", type(error).__name__, said)
        if sweeping:
            raise  # a launcher lets the other jobs go on, which an exit would stop
        sys.exit(1)
    log.info("results in %s", folder)
    if not sweeping:
        tell(ending, folder, job.tiny)


_STARTS_AGAIN = "the same command starts it again."


def _goes_on(folder: str) -> str:
    return f"the same command goes on where it stopped, with what is finished in {folder}."


@contextmanager
def _sentences() -> Iterator[None]:
    """End the program with one sentence where an error has a remedy, and on Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get(_FULL_ERROR):
        yield
        return
    os.environ[_FULL_ERROR] = "1"  # Hydra hands its errors over, rather than print them over several lines
    try:
        yield
    except KeyboardInterrupt as interrupt:
        _stop(f"Interrupted: {interrupt if interrupt.args else _of_a_sweep()}", INTERRUPTED)
    except Exception as error:
        said = explain(error, sys.argv[1:])
        if said is None:
            raise
        _stop(said, 1)
    finally:
        del os.environ[_FULL_ERROR]
        HydraConfig.instance().cfg = None


def _of_a_sweep() -> str:
    """How a sweep that was interrupted goes on."""
    if not HydraConfig.initialized():
        return _STARTS_AGAIN
    return f"the same command with hydra.sweep.dir='{HydraConfig.get().sweep.dir}' runs only the jobs that are missing."


def _stop(sentence: str, code: int) -> NoReturn:
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()
    sys.stdout.flush()
    sys.stderr.write(f"{sentence}\n")
    sys.exit(code)


def _enter(folder: Path) -> None:
    """Make relative paths mean the folder that the program was started in, wherever a launcher runs the job."""
    if Path.cwd() == folder:
        return
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected the folder that the sweep was started in on {platform.node()} too, got none. "
            "Start sweeps for several machines in a folder that they share."
        )
    os.chdir(folder)


def to_job(program: Program, raw: DictConfig) -> Job:
    """Turn a composed configuration into a job; every missing value and unknown setting is refused."""
    require_known(raw)
    require_complete(raw)
    return program.job(raw)


def job_folder(*, _root_: DictConfig) -> str:
    """Name a job's folder after experiment and configuration: one job, one folder, on every machine."""
    from unlearn.records import config_hash

    raw = copy.deepcopy(_root_)
    with read_write(raw), open_dict(raw):
        del raw["hydra"]
    program = program_named(_root_.hydra.job.name)
    return f"{program.name}-{config_hash(identity(to_job(program, raw)))}"


# `token` is cached, as `now` is: all jobs of a sweep see the same one.
OmegaConf.register_new_resolver("token", lambda: secrets.token_hex(4), use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def write_records(job: Job, records: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Write and return a run's records, each with the hash of the configuration that `run.json` holds.

    They say whether the run is too small to be a result; figures and pages that are drawn from them say it, too.
    """
    from experiments.jobs import RECORDS
    from unlearn.records import write_parquet

    written = mark_records(job, records)
    write_parquet(written, folder / RECORDS)
    return written


def mark_records(job: Job, records: pd.DataFrame) -> pd.DataFrame:
    """Records with the hash of the configuration, and whether the run is too small to be a result."""
    from unlearn.records import config_hash
    from unlearn.reporting.style import TINY

    return records.assign(**{TINY: job.tiny, "config_hash": config_hash(identity(job))})


def write_card(job: Job, folder: Path, **more: Any) -> dict[str, Any]:
    """Write and return the configuration, its hash, the versions, the files' hashes, and more such as the wall time."""
    from experiments.jobs import CARD, written_files
    from unlearn.records import FILES, config_hash, provenance, write_json

    card = {"config": job.settings, "config_hash": config_hash(identity(job))}
    card |= {**more, **provenance(), FILES: written_files(folder)}
    write_json(card, folder / CARD)
    return card
