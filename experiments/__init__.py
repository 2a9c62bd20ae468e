"""Experiments: thin Hydra programs over the library; they need the extra `experiments`."""

import multiprocessing
import os
import signal
import sys
from types import FrameType


def leave(signum: int, frame: FrameType | None) -> None:
    """End the program on Ctrl-C: while modules are loaded, nothing has begun."""
    os.write(2, b"Interrupted: the same command starts it again.\n")
    os._exit(130)


if multiprocessing.current_process().name != "MainProcess":
    # A process that a sweep or `paper` has started: its parent hears Ctrl-C, too, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
elif sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # `python -m experiments.NAME` loads its modules; from its start on, the program listens itself.
    signal.signal(signal.SIGINT, leave)

from unlearn.checks import require_package  # noqa: E402  # seconds to load, in which Ctrl-C is heard already
from unlearn.errors import MissingPackageError  # noqa: E402

try:
    require_package("experiments", "hydra", '"unlearn[experiments]"')
except MissingPackageError as error:
    if sys.argv[0] != "-m":
        raise
    sys.exit(str(error))  # a program ends with the sentence alone
