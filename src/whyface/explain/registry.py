"""All explanation methods by name: built-in, from installed packages, and registered in Python."""

from __future__ import annotations

import difflib
import inspect
import math
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol, TypeVar

from whyface.errors import InputError
from whyface.explain.method_table import TABLE, MethodEntry, Needs, Unit

GROUP: Final = "whyface.methods"
"""The entry point group in which an installed package offers methods, each a :class:`MethodEntry`."""


class Named(Protocol):
    """An entry with a name."""

    @property
    def name(self) -> str:
        """Its name on the command line."""
        ...


EntryT = TypeVar("EntryT", bound=Named)


class EntryRegistry(Mapping[str, EntryT]):
    """Entries of one kind by name: built-in, from installed packages, and registered in Python.

    Parameters
    ----------
    kind
        The class of the entries.
    group
        The entry point group in which installed packages offer them.
    noun
        What an entry is called in messages.
    entries
        Those that are built in.
    """

    def __init__(self, kind: type[EntryT], group: str, noun: str, entries: Iterable[EntryT] = ()) -> None:
        self._kind, self._group, self._noun = kind, group, noun
        self._entries = {entry.name: entry for entry in entries}
        self._broken: dict[str, str] = {}
        self._lock = threading.Lock()
        self._asked = False

    def __getitem__(self, name: str) -> EntryT:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def register(self, entry: EntryT) -> None:
        """Add an entry. Raise InputError if it is not an entry, its name is invalid, or the name is taken."""
        noun, kind = self._noun, self._kind.__name__
        if not isinstance(entry, self._kind):
            raise InputError(f"a {noun} is registered by a {kind}, got {type(entry).__name__}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,40}", entry.name):
            raise InputError(f"a {noun} name must be made of a-z, 0-9, '-', '_' and '.', got {entry.name[:50]!r}")
        if entry.name in self._all():
            raise InputError(f"there is a {noun} {entry.name!r} already; choose another name")
        self._entries[entry.name] = entry

    def unregister(self, name: str) -> None:
        """Remove an entry, for instance one that a notebook defines again."""
        self._all().pop(name, None)

    def why_broken(self, name: str) -> str | None:
        """Return why the entry of an installed package could not be loaded; None if there is no such entry."""
        self._all()
        return self._broken.get(name)

    def _all(self) -> dict[str, EntryT]:
        with self._lock:
            if not self._asked:
                self._asked = True
                for point in entry_points(group=self._group):
                    self._load(point)
        return self._entries

    def _load(self, point: EntryPoint) -> None:
        """Load the entry of a package; a failing package must not break the others."""
        try:
            entry = point.load()
        except Exception as error:  # Importing another package may raise anything.
            self._broken[point.name] = f"{type(error).__name__}: {error}"
            return
        if not isinstance(entry, self._kind) or entry.name in self._entries:
            self._broken[point.name] = f"it is not a {self._kind.__name__} with a unique name"
            return
        self._entries[entry.name] = entry


METHODS: Final = EntryRegistry(MethodEntry, GROUP, "method", TABLE)
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


def parse_specs(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Split ``"xcos,xssab:kind=positive,xface:stride=7:shape=circle"`` into spec, name and options, each spec once.

    Raise InputError if a name or an option is unknown, a value does not fit, or no method is given.
    """
    found = []
    for spec in dict.fromkeys(part.strip() for part in text.split(",") if part.strip()):
        name, *given = (part.strip() for part in spec.split(":"))
        entry = method_entry(name)
        found.append((spec, entry.name, _read_options(entry, given)))
    if not found:
        raise InputError(f"no method given; known: {', '.join(METHODS)}")
    return found


def options_of(entry: MethodEntry) -> dict[str, Any]:
    """Return the options of a method that a text can set, with their defaults."""
    found: dict[str, Any] = {}
    for one in inspect.getmro(entry.load()):
        if "__init__" not in vars(one):
            continue
        parameters = inspect.signature(vars(one)["__init__"]).parameters.values()
        for parameter in parameters:
            is_plain = isinstance(parameter.default, bool | int | float | str | tuple)
            if parameter.name not in _COMMON and (is_plain or parameter.name in _COUNTS):
                found.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


_COMMON: Final = frozenset({"threshold", "batch_size", "workers", "seed"})
"""Options that commands set for all methods."""

_COUNTS: Final = frozenset({"dimensions", "masks"})
"""Whole numbers whose default is None."""


def _read_options(entry: MethodEntry, given: Iterable[str]) -> dict[str, Any]:
    known, found = (options_of(entry) if given else {}), {}
    for part in given:
        key, equals, value = part.partition("=")
        if key not in known or not equals:
            listed = ", ".join(known) or "none"
            raise InputError(f"method {entry.name!r} has no option {key!r}; it has {listed}, as NAME:OPTION=VALUE")
        try:
            found[key] = _value(value, known[key])
        except ValueError as error:
            raise InputError(f"method {entry.name!r}, option {key!r}: {value!r} does not fit") from error
    return found


def _value(text: str, default: Any) -> Any:
    """Read a text as a value of the default's type; ``7+14`` is a tuple. Raise ValueError if it is none."""
    if isinstance(default, bool):
        return {"true": True, "false": False}[text] if text in {"true", "false"} else _value(text, None)
    if isinstance(default, tuple):
        return tuple(int(part) for part in text.split("+"))
    if isinstance(default, str):
        # A fill may be a grey level.
        return float(text) if text.replace(".", "", 1).isdigit() else text
    number = float(text) if isinstance(default, float) else int(text)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def without_gradients() -> str:
    """Return the names of the methods without gradients, for messages."""
    names = [entry.name for entry in METHODS.values() if entry.needs == "any embedder"]
    names += [
        f"{entry.name} (if the network's head is linear)" for entry in METHODS.values() if entry.needs == "linear head"
    ]
    return ", ".join(names)
