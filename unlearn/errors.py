"""The one error hierarchy of the library.

Every message says what was expected, what came, where, and how to mend it. Callers who want to
catch everything catch `UnlearnError`; the subclasses also derive from the built-in error that
a Python programmer would expect in that place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UnlearnError(Exception):
    """Base class of every error that this library raises on purpose."""


class InputError(UnlearnError, ValueError):
    """An argument is unusable; nothing has been computed or written yet."""


class RowError(InputError, IndexError):
    """A row index lies outside of the data."""


class MissingPackageError(InputError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class DataError(InputError):
    """A data file or array holds something that cannot be used (names file, column and row)."""


class MismatchError(InputError):
    """Two things that must belong together do not, such as a model and a data set."""


class SolverError(UnlearnError, RuntimeError):
    """A solver did not reach a solution that passes our own checks."""


class ConvergenceError(SolverError):
    """An iterative solver stopped before its true residual met the tolerance."""


class SingularHessianError(SolverError):
    """The Hessian has no inverse: some parameters are not determined by the data."""


class DownloadError(UnlearnError, OSError):
    """A file could not be fetched, or what came is not the file that was expected."""


@contextmanager
def counted_from(start: int) -> Iterator[None]:
    """Add to an error that names an hour of a chunk where the chunk begins."""
    try:
        yield
    except (InputError, SolverError) as error:
        if not start:
            raise
        raise type(error)(f"{error} Hours are counted from {start}.") from error
