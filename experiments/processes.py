"""Tasks of a run in processes of their own: `jobs` at a time, deaf to Ctrl-C, which the run itself hears."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import joblib
import torch
from tqdm import tqdm

_SILENT = "TQDM_DISABLE"
Task, Result = TypeVar("Task"), TypeVar("Result")


def in_processes(run: Callable[[Task], Result], tasks: Iterable[Task], jobs: int, threads: int) -> Iterator[Result]:
    """Run tasks, in their order, `jobs` at a time; with one job, in this process.

    Args:
        run: what is run; it and its task are pickled.
        tasks: of each call.
        jobs: processes.
        threads: of each process.

    Yields:
        What each returns, in the order in which they end.
    """
    before = os.environ.get(_SILENT)
    if jobs > 1:
        # Bars of several processes would overwrite each other; each tells its finished stages instead.
        os.environ[_SILENT] = "1"
    pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    with _deaf():
        found = pool(joblib.delayed(_alone)(run, task, threads) for task in tasks)
    try:
        yield from found
    finally:
        os.environ.pop(_SILENT, None)
        if before is not None:
            os.environ[_SILENT] = before


def _alone(run: Callable[[Task], Result], task: Task, threads: int) -> Result:
    torch.set_num_threads(threads)
    if not logging.getLogger().handlers:  # a process of its own starts without any
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        tqdm.set_lock(threading.RLock())  # its own would be a semaphore, which a process that is ended leaves behind
    return run(task)


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that are started here not hear Ctrl-C: this one hears it, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
