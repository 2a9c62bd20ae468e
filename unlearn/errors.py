"""The one error hierarchy of the library.

Every message says what was expected, what came, where, and how to mend it. Callers who want to catch everything catch
`UnlearnError`; the subclasses also derive from the built-in error that a Python programmer would expect in that place.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

# Values of array libraries name their class when they are shown: np.float64(-3.2), Timestamp('2016-01-01 00:00:00').
_SCALARS = r"np\.(?:float|int|uint|str|bytes|bool|complex|datetime|timedelta)\w*|(?:pd\.)?Timestamp"
_WRAPPED = re.compile(rf"\b(?:{_SCALARS})\((?P<quote>['\"]?)([^()'\"]*)(?P=quote)\)")
# Two full stops at the end of a sentence, as another library's message that ends with one leaves; never a path's `..`.
_TWO_STOPS = re.compile(r"(?<=[^\s./\\])\.\.(?=\s|$)")


_FULL = "the disk is full; free some space and run it again, finished parts are kept"
_FORBIDDEN = "this account may not read or write it; name another path, or change its permissions"
_NO_FOLDER = "a file stands where a folder is expected; name another folder, or move the file away"

#: What the system says of a file or folder, and what to do about it.
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "the file is larger than the system allows here; raise the limit with ulimit -f, or free some space",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.EEXIST: _NO_FOLDER,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EISDIR: "a folder stands where a file is expected; name a file",
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.ELOOP: "its links lead round in a circle; name a path without them",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EMFILE: "too many files are open; raise the limit with ulimit -n",
}


class UnlearnError(Exception):
    """Base class of every error that this library raises on purpose.

    Messages are tidied in this one place: values are shown as plain numbers and texts whatever type they came in, and a
    sentence ends with one full stop.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(_tidy(arg) if isinstance(arg, str) else arg for arg in args))


def _tidy(message: str) -> str:
    plain = message.replace("np.True_", "True").replace("np.False_", "False")
    return _TWO_STOPS.sub(".", _WRAPPED.sub(r"\2", plain))


def said(error: BaseException) -> str:
    """What an error of another library says, in one line without a full stop, to quote it within a sentence."""
    text = " ".join(str(error).split()).rstrip(". ")
    return text if text and not isinstance(error, KeyError) else f"{type(error).__name__} {text}".rstrip()


def system_reason(error: OSError) -> str:
    """What the system says of a file or folder and what to do about it, to be quoted; without a full stop."""
    return _REASONS.get(error.errno or 0, f"the system says {error.strerror or said(error)}")


class InputError(UnlearnError, ValueError):
    """An argument is unusable; nothing has been computed or written yet."""


class RowError(InputError, IndexError):
    """A row index lies outside of the data."""


class MissingPackageError(InputError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class BudgetError(InputError):
    """What was asked for would break a promise whose budget is spent; the message says how to renew it."""


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


class ProtocolError(UnlearnError, RuntimeError):
    """A party of a joint computation vanished, or sent what the protocol does not allow; nothing has been released."""


class StoreError(UnlearnError, OSError):
    """A file could not be written, as on a full disk or without permission; what stood there is as it was."""


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
