"""All explanation methods by name: built-in, from installed packages, and registered in Python."""

from __future__ import annotations

import difflib
import inspect
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from whyface.errors import InputError
from whyface.explain.method_table import TABLE, MethodEntry, Needs, Unit

GROUP: Final = "whyface.methods"
"""The entry point group in which an installed package offers methods, each a :class:`MethodEntry`."""


class MethodRegistry(Mapping[str, MethodEntry]):
    """Methods by name: built-in, from installed packages, and registered in Python."""

    def __init__(self, entries: Iterable[MethodEntry] = ()) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._broken: dict[str, str] = {}
        self._lock = threading.Lock()
        self._asked = False

    def __getitem__(self, name: str) -> MethodEntry:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def register(self, entry: MethodEntry) -> None:
        """Add a method. Raise InputError if it is not an entry, its name is invalid, or the name is taken."""
        if not isinstance(entry, MethodEntry):
            raise InputError(f"a method is registered by a MethodEntry, got {type(entry).__name__}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,40}", entry.name):
            raise InputError(f"a method name must be made of a-z, 0-9, '-', '_' and '.', got {entry.name[:50]!r}")
        if entry.name in self._all():
            raise InputError(f"there is a method {entry.name!r} already; choose another name")
        self._entries[entry.name] = entry

    def unregister(self, name: str) -> None:
        """Remove a method, for instance one that a notebook defines again."""
        self._all().pop(name, None)

    def why_broken(self, name: str) -> str | None:
        """Return why the method of an installed package could not be loaded; None if there is no such method."""
        self._all()
        return self._broken.get(name)

    def _all(self) -> dict[str, MethodEntry]:
        with self._lock:
            if not self._asked:
                self._asked = True
                for point in entry_points(group=GROUP):
                    self._load(point)
        return self._entries

    def _load(self, point: EntryPoint) -> None:
        """Load the method of a package; a failing package must not break the other methods."""
        try:
            entry = point.load()
        except Exception as error:  # Importing another package may raise anything.
            self._broken[point.name] = f"{type(error).__name__}: {error}"
            return
        if not isinstance(entry, MethodEntry) or entry.name in self._entries:
            self._broken[point.name] = "it is not a MethodEntry with a unique name"
            return
        self._entries[entry.name] = entry


METHODS: Final = MethodRegistry(TABLE)
"""All methods by name."""


def register_method(
    method: MethodEntry | type[Any],
    *,
    needs: Needs = "any embedder",
    unit: Unit = "gradient",
    title: str | None = None,
    paper: str = "",
    summary: str | None = None,
    caption: str | None = None,
) -> MethodEntry:
    """Register a method for ``open_method``, the command line, the bench and the figures.

    Parameters
    ----------
    method
        A :class:`MethodEntry`, or a class derived from :class:`~whyface.explain.pair_method.PairMethod` with a
        ``name``. An installed package offers its entry in the entry point group ``whyface.methods`` instead.
    needs, unit, title, paper, summary, caption
        For a class, see :class:`MethodEntry`; title and texts default to its name and docstring.

    Returns
    -------
    The entry registered.

    Raises
    ------
    InputError
        If the name is taken, or the class has no name.

    Examples
    --------
    >>> register_method(MyMethod, needs="any embedder", unit="points")  # doctest: +SKIP
    >>> whyface.open_method("mine", whyface.Verifier().method)  # doctest: +SKIP
    """
    if isinstance(method, type):
        name = getattr(method, "name", "")
        if not isinstance(name, str) or not name:
            raise InputError(f"the class {method.__name__} has no name; give it a class attribute 'name'")
        first_line = (inspect.getdoc(method) or title or name).splitlines()[0]
        summary = summary or first_line
        method = MethodEntry(name, title or name, method, needs, unit, paper, summary, caption or summary)
    METHODS.register(method)
    return method


def method_entry(name: str) -> MethodEntry:
    """Return the method of a name.

    Raise InputError if there is none; the message suggests the nearest name and lists all.
    """
    if name not in METHODS:
        if reason := METHODS.why_broken(name):
            raise InputError(f"method {name!r} of an installed package cannot be loaded ({reason[:200]})")
        close = difflib.get_close_matches(name.lower(), METHODS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(f"unknown method {name!r}; {hint}known: {', '.join(METHODS)}")
    return METHODS[name]


def parse_methods(text: str) -> list[str]:
    """Split ``"xcos,xface"`` into names, each once. Raise InputError if a name is unknown or none is given."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise InputError(f"no method given; known: {', '.join(METHODS)}")
    return [method_entry(name).name for name in names]


def without_gradients() -> str:
    """Return the names of the methods without gradients, for messages."""
    names = [entry.name for entry in METHODS.values() if entry.needs == "any embedder"]
    names += [
        f"{entry.name} (if the network's head is linear)" for entry in METHODS.values() if entry.needs == "linear head"
    ]
    return ", ".join(names)
