"""Refuse what no face network needs and would let a small ONNX file run for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from whyface.models.protobuf import (
    ATTRIBUTE_GRAPHS,
    FUNCTION_NODE,
    GRAPH_NODE,
    MODEL_FUNCTIONS,
    MODEL_GRAPH,
    NODE_ATTRIBUTE,
    NODE_OP_TYPE,
    messages,
    text,
)

MOST_NODES: Final = 20_000
"""Maximum number of operators, with every function expanded at its calls; the largest face networks have 2,000."""

_FUNCTION_NAME: Final = 1
_FUNCTION_DOMAIN: Final = 10
_NODE_DOMAIN: Final = 7
_NOTHING: Final = memoryview(b"")

_Name = tuple[str, str]


def check_bounded(model: bytes) -> None:
    """Refuse control flow, and functions that expand to very many operators.

    A ``Loop`` can run 2 ** 63 times, and 1.3 kB of functions that call each other make a million operators. Every
    operator that contains a graph is refused: ``Loop``, ``Scan``, ``If``, ``SequenceMap``. Raise ValueError if there is
    one; the message is one line.
    """
    main: Counter[_Name] = Counter()
    functions: dict[_Name, Counter[_Name]] = {}
    for field, value in messages(memoryview(model)):
        if field == MODEL_GRAPH:
            main.update(_operators(value, GRAPH_NODE))
        elif field == MODEL_FUNCTIONS:
            name = _last(value, _FUNCTION_DOMAIN), _last(value, _FUNCTION_NAME)
            # Overloads share a name; all of them count.
            functions.setdefault(name, Counter()).update(_operators(value, FUNCTION_NODE))
    sizes: dict[_Name, int] = {}
    if _unfolded(main, functions, sizes, ()) > MOST_NODES:
        raise ValueError(f"it has more than {MOST_NODES} operators")


def _unfolded(
    operators: Counter[_Name],
    functions: dict[_Name, Counter[_Name]],
    sizes: dict[_Name, int],
    within: tuple[_Name, ...],
) -> int:
    total = 0
    for name, count in operators.items():
        if name in functions and name not in sizes:
            if name in within or len(within) > 100:
                raise ValueError(f"its function {name[1][:60]!r} calls itself or is nested too deeply")
            sizes[name] = _unfolded(functions[name], functions, sizes, (*within, name))
        total += count * max(sizes.get(name, 1), 1)
    return total


def _operators(graph: memoryview, part: int) -> Iterator[_Name]:
    for field, node in messages(graph):
        if field != part:
            continue
        # If a field occurs twice, protobuf takes the last.
        found = dict(messages(node))
        op = text(found.get(NODE_OP_TYPE, _NOTHING))
        if NODE_ATTRIBUTE in found:
            attributes = (value for kind, value in messages(node) if kind == NODE_ATTRIBUTE)
            if any(inner in ATTRIBUTE_GRAPHS for attribute in attributes for inner, _ in messages(attribute)):
                raise ValueError(f"its operator {op[:60]!r} is control flow, which could run for ever")
        yield text(found.get(_NODE_DOMAIN, _NOTHING)), op


def _last(message: memoryview, field: int) -> str:
    # If a field occurs twice, protobuf takes the last.
    found = [value for part, value in messages(message) if part == field]
    return text(found[-1]) if found else ""
