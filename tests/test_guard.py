"""Guards: one thread at a time, locks of their own in copies, none held in a forked child."""

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable

import pytest

from unlearn.temporary import Guard


def free(guard: Guard) -> bool:
    """Whether another thread could enter."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(guard.try_enter()))
    thread.start()
    thread.join()
    return found[0]


def test_one_thread_at_a_time_and_again_in_the_same() -> None:
    guard = Guard()
    with guard, guard:
        assert not free(guard)
    assert free(guard)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda guard: pickle.loads(pickle.dumps(guard))])
def test_a_copy_is_a_lock_of_its_own(again: Callable[[Guard], Guard]) -> None:
    guard = Guard()
    with guard:
        assert free(again(guard))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_fork_waits_for_whoever_is_inside_and_for_what_that_one_waits_for() -> None:
    outer, inner = Guard(), Guard()
    inside, go_on = threading.Event(), threading.Event()

    def nested() -> None:
        with outer:
            inside.set()
            go_on.wait()
            with inner:  # a fork that held it, and waited for the outer one, would never end
                pass

    thread = threading.Thread(target=nested)
    thread.start()
    inside.wait()
    threading.Timer(0.1, go_on.set).start()
    child = multiprocessing.get_context("fork").Process(target=lambda: _enter(outer, inner))
    child.start()
    thread.join()
    child.join()
    assert child.exitcode == 0
    assert free(outer)
    assert free(inner)


def _enter(*guards: Guard) -> None:
    if not all(guard.try_enter() for guard in guards):
        raise SystemExit(1)
