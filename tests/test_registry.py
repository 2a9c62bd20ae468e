"""Registries: names resolve in one place, lazily, and a wrong name is answered with the right one."""

import doctest
import sys

import pytest

import unlearn.registry
from unlearn.errors import InputError
from unlearn.registry import Registry


class Square:
    pass


def test_the_example_runs() -> None:
    assert doctest.testmod(unlearn.registry).failed == 0


def test_an_entry_is_imported_when_it_is_asked_for_and_not_before() -> None:
    sys.modules.pop("this", None)  # a module that nothing else imports
    shapes: Registry[object] = Registry("shape", {"letters": "this:d", "square": Square})
    assert shapes.names() == tuple(shapes) == ("letters", "square")
    assert "letters" in shapes
    assert "this" not in sys.modules
    assert shapes["letters"] is shapes["letters"] is sys.modules["this"].d
    assert shapes["square"] is Square


def test_a_name_is_registered_once() -> None:
    shapes: Registry[type] = Registry("shape")
    shapes.register("square")(Square)
    assert shapes.register("square")(Square) is Square
    with pytest.raises(InputError, match=r"shape.*'square'"):
        shapes.register("square")(type("Other", (), {}))


@pytest.mark.parametrize("name", ["sqare", "circle", None, 3, ("square",)])
def test_an_unknown_name_is_answered_with_the_names(name: object) -> None:
    shapes: Registry[type] = Registry("shape", {"square": Square, "disc": Square})
    with pytest.raises(InputError, match=r"shape.*square, disc") as caught:
        shapes[name]  # type: ignore[index]
    assert ("Did you mean 'square'?" in str(caught.value)) == (name == "sqare")
