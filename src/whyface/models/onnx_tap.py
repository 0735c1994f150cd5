"""Read ONNX files, and turn inner tensors into outputs, without the onnx package.

An ONNX file is one protobuf message. Only a few of its fields matter here, and one rule of protobuf makes adding an
output trivial: when a message field occurs twice, a parser merges the two. So a second, tiny ``graph`` with one output
only, appended to the file's bytes, adds that output to the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from whyface.models.protobuf import (
    ATTRIBUTE_GRAPHS,
    FUNCTION_NODE,
    GRAPH_NODE,
    MODEL_FUNCTIONS,
    MODEL_GRAPH,
    NODE_ATTRIBUTE,
    NODE_OP_TYPE,
    UINT32,
    VARINT,
    copied,
    field_bytes,
    fields,
    messages,
    read_varint,
    text,
    varint_bytes,
)

# Field numbers of onnx.proto.
_MODEL_TRAINING: Final = 20
_TRAINING_GRAPHS: Final = (1, 2)
_GRAPH_INITIALIZER: Final = 5
_GRAPH_INPUT: Final = 11
_GRAPH_OUTPUT: Final = 12
_GRAPH_VALUES: Final = 13
_GRAPH_SPARSE_INITIALIZER: Final = 15
_VALUE_NAME: Final = 1
_VALUE_TYPE: Final = 2
_TYPE_TENSOR: Final = 1
_TENSOR_ELEMENT: Final = 1
_FLOAT: Final = 1
_NODE_INPUT: Final = 1
_NODE_OUTPUT: Final = 2
_ATTRIBUTE_TENSORS: Final = (5, 10)
_ATTRIBUTE_SPARSE: Final = (22, 23)
_TENSOR_INT64: Final = 7
_TENSOR_NAME: Final = 8
_TENSOR_RAW: Final = 9
_TENSOR_LOCATION: Final = 14
_TENSOR_INSIDE: Final = 0
_SPARSE_PARTS: Final = (1, 2)

_MAX_DEPTH: Final = 32

_ORT_MAGIC: Final = b"ORTM"

# Operators whose output is a spatial map when their input is one.
_SPATIAL_OPS: Final = frozenset(
    (
        "BatchNormalization",
        "InstanceNormalization",
        "Conv",
        "QLinearConv",
        "FusedConv",
        "DequantizeLinear",
        "Relu",
        "PRelu",
        "LeakyRelu",
        "Elu",
        "Gelu",
        "Mish",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Add",
        "Mul",
        "Sum",
        "Concat",
        "MaxPool",
        "AveragePool",
    )
)


@dataclass(frozen=True)
class Summary:
    """The description of an ONNX file.

    Attributes
    ----------
    outputs
        Names of the declared outputs.
    tensors
        Name of every tensor that a node of the main graph produces, in file order -> that node's operator.
    external
        Names of the tensors with data in another file.
    """

    outputs: tuple[str, ...]
    tensors: dict[str, str]
    external: tuple[str, ...]

    def spatial(self) -> list[str]:
        """Names of the tensors that may be spatial maps, judged by their operators, first to last."""
        return [name for name, op in self.tensors.items() if op in _SPATIAL_OPS]


def summarise(model: bytes) -> Summary:
    """Return a summary of an ONNX file's bytes.

    Raises
    ------
    ValueError
        The bytes are not an ONNX model.
    """
    # ONNX Runtime would also take its own format, which is not read here.
    if model[4:8] == _ORT_MAGIC:
        raise ValueError("it is in ONNX Runtime's own format, not ONNX")
    outputs: list[str] = []
    tensors: dict[str, str] = {}
    external: list[str] = []
    graphs = 0
    for field, value in messages(memoryview(model)):
        if field == MODEL_GRAPH:
            graphs += 1
            _read_main_graph(value, outputs, tensors)
            external += _external_in_graph(value)
        elif field == _MODEL_TRAINING:
            for part, inner in messages(value):
                if part in _TRAINING_GRAPHS:
                    external += _external_in_graph(inner)
        elif field == MODEL_FUNCTIONS:
            for part, inner in messages(value):
                if part == FUNCTION_NODE:
                    external += _external_in_node(inner, 0)
    if not graphs or not tensors:
        raise ValueError("it holds no graph")
    return Summary(tuple(outputs), tensors, tuple(external))


def add_output(model: bytes, *names: str) -> bytes:
    """Return the model with inner tensors as additional outputs, after the declared ones.

    Type and shape are left out: ONNX Runtime infers them.
    """
    graph = b"".join(field_bytes(_GRAPH_OUTPUT, field_bytes(_VALUE_NAME, name.encode())) for name in names)
    return model + field_bytes(MODEL_GRAPH, graph)


def cut_graph(model: bytes, start: str, end: str) -> bytes:
    """Return the part of a model that leads from one tensor to another, as a separate model.

    Raise ValueError if ``end`` also depends on other inputs than ``start``, or does not depend on ``start`` at all.

    Parameters
    ----------
    model
        The file's bytes, already checked with :func:`summarise`.
    start
        The tensor that becomes the only input, float32.
    """
    rest, graph = _main_graph(model)
    nodes = [(index, *_ends(value)) for index, (field, value) in enumerate(graph) if field == GRAPH_NODE]
    constants = {
        _name(value, _TENSOR_NAME) for field, value in graph if field in (_GRAPH_INITIALIZER, _GRAPH_SPARSE_INITIALIZER)
    }
    wanted, kept, reached = {end}, set(), False
    for index, inputs, outputs in reversed(nodes):
        if not wanted & set(outputs) or start in outputs:
            continue
        kept.add(index)
        reached = reached or start in inputs
        wanted |= set(inputs)
    made = {name for index, _, outputs in nodes if index in kept for name in outputs}
    outside = wanted - made - constants - {start, ""}
    if not reached or outside:
        raise ValueError(f"tensor {end!r} is not made from {start!r} alone")
    dropped = (GRAPH_NODE, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUES)
    tensor = field_bytes(_TYPE_TENSOR, varint_bytes(_TENSOR_ELEMENT << 3 | VARINT) + varint_bytes(_FLOAT))
    parts = [copied(*entry) for index, entry in enumerate(graph) if index in kept or entry[0] not in dropped]
    parts += [
        field_bytes(_GRAPH_INPUT, field_bytes(_VALUE_NAME, start.encode()) + field_bytes(_VALUE_TYPE, tensor)),
        field_bytes(_GRAPH_OUTPUT, field_bytes(_VALUE_NAME, end.encode())),
    ]
    return rest + field_bytes(MODEL_GRAPH, b"".join(parts))


def free_batch(model: bytes, batch: int) -> bytes:
    """Return the model with reshapes to a constant shape (``batch``, ...) changed to keep the number of rows they get.

    Whether each row is still one face is not checked. Raise ValueError if a shape cannot be read.
    """
    rest, graph = _main_graph(model)
    nodes = [value for field, value in graph if field == GRAPH_NODE and isinstance(value, memoryview)]
    shapes = {_ends(node)[0][1] for node in nodes if _name(node, NODE_OP_TYPE) == "Reshape" and len(_ends(node)[0]) > 1}
    parts = []
    for field, value in graph:
        if field == _GRAPH_INITIALIZER and isinstance(value, memoryview) and _name(value, _TENSOR_NAME) in shapes:
            parts.append(field_bytes(field, _freed(value, batch)))
        elif field == GRAPH_NODE and isinstance(value, memoryview) and shapes & set(_ends(value)[1]):
            parts.append(field_bytes(field, _freed_node(value, batch)))
        else:
            parts.append(copied(field, value))
    return rest + field_bytes(MODEL_GRAPH, b"".join(parts))


def _main_graph(model: bytes) -> tuple[bytes, list[tuple[int, int | memoryview]]]:
    """Split a model into the bytes outside its graph and the graph's fields."""
    rest = b""
    graph: list[tuple[int, int | memoryview]] = []
    for field, value in fields(memoryview(model)):
        if field == MODEL_GRAPH and isinstance(value, memoryview):
            graph += fields(value)
        else:
            rest += copied(field, value)
    return rest, graph


def _freed_node(node: memoryview, batch: int) -> bytes:
    """Free the tensor of a Constant node."""
    parts = []
    for field, value in fields(node):
        if field == NODE_ATTRIBUTE and isinstance(value, memoryview):
            inner = (
                field_bytes(part, _freed(one, batch))
                if part == _ATTRIBUTE_TENSORS[0] and isinstance(one, memoryview)
                else copied(part, one)
                for part, one in fields(value)
            )
            parts.append(field_bytes(field, b"".join(inner)))
        else:
            parts.append(copied(field, value))
    return b"".join(parts)


def _freed(tensor: memoryview, batch: int) -> bytes:
    """Replace a shape's first number by 0, "as in the input", if that number is the batch."""
    sizes = b""
    for field, value in fields(tensor):
        if field == _TENSOR_RAW and isinstance(value, memoryview):
            sizes = bytes(value)
        elif field == _TENSOR_INT64 and isinstance(value, int):
            sizes += value.to_bytes(8, "little")
        elif field == _TENSOR_INT64 and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                number, at = read_varint(value, at)
                sizes += number.to_bytes(8, "little")
    # A shape of one number has no row per face.
    if len(sizes) < 16 or int.from_bytes(sizes[:8], "little") != batch:
        return bytes(tensor)
    kept = [copied(*entry) for entry in fields(tensor) if entry[0] not in (_TENSOR_RAW, _TENSOR_INT64)]
    return b"".join([*kept, field_bytes(_TENSOR_RAW, bytes(8) + sizes[8:])])


def _ends(node: int | memoryview) -> tuple[list[str], list[str]]:
    parts = [*messages(node)] if isinstance(node, memoryview) else []
    inputs, outputs = ([text(value) for part, value in parts if part == kind] for kind in (_NODE_INPUT, _NODE_OUTPUT))
    return inputs, outputs


def _name(message: int | memoryview, field: int) -> str:
    parts = messages(message) if isinstance(message, memoryview) else iter(())
    return next((text(value) for part, value in parts if part == field), "")


def _read_main_graph(graph: memoryview, outputs: list[str], tensors: dict[str, str]) -> None:
    for field, value in messages(graph):
        if field == _GRAPH_OUTPUT:
            outputs += [text(inner) for part, inner in messages(value) if part == _VALUE_NAME]
        elif field == GRAPH_NODE:
            made: list[str] = []
            op = ""
            for part, inner in messages(value):
                if part == _NODE_OUTPUT:
                    made.append(text(inner))
                elif part == NODE_OP_TYPE:
                    op = text(inner)
            tensors.update((name, op) for name in made if name)


def _external_in_graph(graph: memoryview, depth: int = 0) -> list[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    found: list[str] = []
    for field, value in messages(graph):
        if field == _GRAPH_INITIALIZER:
            found += _external_in_tensor(value)
        elif field == _GRAPH_SPARSE_INITIALIZER:
            found += _external_in_sparse(value)
        elif field == GRAPH_NODE:
            found += _external_in_node(value, depth)
    return found


def _external_in_node(node: memoryview, depth: int) -> list[str]:
    found: list[str] = []
    for field, attribute in messages(node):
        if field != NODE_ATTRIBUTE:
            continue
        for part, value in messages(attribute):
            if part in _ATTRIBUTE_TENSORS:
                found += _external_in_tensor(value)
            elif part in _ATTRIBUTE_SPARSE:
                found += _external_in_sparse(value)
            elif part in ATTRIBUTE_GRAPHS:
                found += _external_in_graph(value, depth + 1)
    return found


def _external_in_sparse(tensor: memoryview) -> list[str]:
    return [name for part, value in messages(tensor) if part in _SPARSE_PARTS for name in _external_in_tensor(value)]


def _external_in_tensor(tensor: memoryview) -> list[str]:
    name, external = "(no name)", False
    for field, value in fields(tensor):
        if field == _TENSOR_LOCATION and isinstance(value, int):
            # An enum is 32 bits wide: parsers drop higher bits, so a crafted file cannot hide it there.
            external = external or value & UINT32 != _TENSOR_INSIDE
        elif field == _TENSOR_NAME and isinstance(value, memoryview):
            name = text(value)
    return [name] if external else []
