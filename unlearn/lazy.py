"""Packages whose names are imported when they are first asked for (PEP 562), so that `import unlearn` costs little.

A package's `__init__` imports under `TYPE_CHECKING` what it offers, as type checkers and editors read it, and the same
lines tell at run time where each name comes from: there is no second table that could differ. `lazy_loader` does the
same from a `.pyi` file beside each `__init__`; these few lines need neither those files nor the dependency. They need
the source of the `__init__`, which every wheel has.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module


def lazily(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: its names under `TYPE_CHECKING`, and its modules.

    No name may be that of a module of the package as well, for importing the module would replace the name.

    >>> import unlearn
    >>> "forget" in dir(unlearn), unlearn.MSE().name
    (True, 'mse')
    """
    module = sys.modules[package]
    parts = {part.name for part in pkgutil.iter_modules(module.__path__) if not part.name.startswith("_")}
    table: dict[str, tuple[str, str]] = {}

    def origins() -> dict[str, tuple[str, str]]:
        if not table:
            for node in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(node, ast.ImportFrom):
                    table.update({a.asname or a.name: (node.module or "", a.name) for a in node.names})
        return table

    def get(name: str) -> object:
        if name.startswith("__") or name not in parts | origins().keys():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name in parts:
            return import_module(f"{package}.{name}")
        source, own_name = origins()[name]
        value = getattr(import_module(source), own_name)
        setattr(module, name, value)  # the next time it is there
        return value

    def names() -> list[str]:
        return sorted({*vars(module), *parts, *getattr(module, "__all__", ())})

    return get, names
