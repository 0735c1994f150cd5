"""Alternatives to :mod:`whyface.gallery.kernel` for ``gallery_speed.py``: one probe, 16-bit records."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_limits

from whyface.gallery.kernel import Probes
from whyface.onnx_runtime import CPU, onnx_runtime
from whyface.xcos.separable import ClippedAttention

Scorer = Callable[[], NDArray[np.float32]]
_BLOCK = 256
_STRETCH = 64 * _BLOCK


def _threaded(count: int, threads: int, part: Callable[[int, int], NDArray[np.float32]]) -> NDArray[np.float32]:
    def stretch(start: int) -> NDArray[np.float32]:
        stop = min(start + _STRETCH, count)
        return np.concatenate([part(first, min(first + _BLOCK, stop)) for first in range(start, stop, _BLOCK)])

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(stretch, range(0, count, _STRETCH))))


def _score(logits: NDArray[np.float32], similarity: NDArray[np.float32]) -> NDArray[np.float32]:
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    return np.asarray(np.einsum("nk,nk->n", logits, similarity) / logits.sum(axis=1))


def numpy_direct(records: NDArray[Any], probes: Probes, attention: ClippedAttention, threads: int) -> Scorer:
    """NumPy without the clipping: add, PReLU, one full matrix product."""
    assert probes.terms is not None
    split, first, cells = attention.split, probes.terms[0], probes.cells[0]

    def part(start: int, stop: int) -> NDArray[np.float32]:
        block = records[start:stop]
        terms = block["terms"].astype(np.float32) * block["term_scale"][:, None]
        weights = split.weights(first[None], terms)
        units = block["unit"].astype(np.float32).reshape(len(block), *cells.shape)
        return np.asarray(np.einsum("nk,nkc,kc->n", weights, units, cells, optimize=True) * block["unit_scale"])

    return lambda: _threaded(len(records), threads, part)


def onnx_graph(records: NDArray[Any], probes: Probes, attention: ClippedAttention, threads: int) -> Scorer:
    """One ONNX graph over the cached terms, with the clipping and the bands."""
    assert probes.terms is not None
    cells = probes.cells[0]
    constants: dict[str, NDArray[Any]] = {
        "floor": -probes.terms[0],
        "first": attention.first_base(probes.terms)[0],
        "probe": cells,
        "shape": np.array([-1, *cells.shape]),
        "one": np.array([1]),
        "two": np.array([2]),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["terms"], ["t0"], to=TensorProto.FLOAT),
        node("Mul", ["t0", "term_scale"], ["t1"]),
        node("Max", ["t1", "floor"], ["t2"]),
    ]
    for number, band in enumerate(attention.bands):
        constants |= {
            f"from{number}": np.array([band.start]),
            f"to{number}": np.array([band.stop]),
            f"m{number}": band.matrix,
        }
        nodes += [
            node("Slice", ["t2", f"from{number}", f"to{number}", "one"], [f"x{number}"]),
            node("MatMul", [f"x{number}", f"m{number}"], [f"y{number}"]),
        ]
    nodes += [
        node("Concat", [f"y{number}" for number in range(len(attention.bands))], ["l0"], axis=1),
        node("Add", ["l0", "base"], ["l1"]),
        node("Add", ["l1", "first"], ["l2"]),
        node("LeakyRelu", ["l2"], ["l3"], alpha=attention.split.out_slope),
        node("Softmax", ["l3"], ["w"], axis=1),
        node("Cast", ["unit"], ["u0"], to=TensorProto.FLOAT),
        node("Reshape", ["u0", "shape"], ["u1"]),
        node("Mul", ["u1", "probe"], ["u2"]),
        node("ReduceSum", ["u2", "two"], ["s"], keepdims=0),
        node("Mul", ["s", "w"], ["sw"]),
        node("ReduceSum", ["sw", "one"], ["scores"], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info("terms", TensorProto.INT16, ["n", probes.terms.shape[1]]),
        helper.make_tensor_value_info("term_scale", TensorProto.FLOAT, ["n", 1]),
        helper.make_tensor_value_info("unit", TensorProto.INT16, ["n", cells.size]),
        helper.make_tensor_value_info("base", TensorProto.FLOAT, ["n", len(cells)]),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n"])]
    initial = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "search", inputs, outputs, initial)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=list(CPU))

    def part(start: int, stop: int) -> NDArray[np.float32]:
        block = records[start:stop]
        feeds = {name: np.ascontiguousarray(block[name]) for name in ("terms", "unit", "base")}
        scores = session.run(None, {**feeds, "term_scale": np.ascontiguousarray(block["term_scale"])[:, None]})[0]
        return np.asarray(scores * block["unit_scale"])

    return lambda: _threaded(len(records), threads, part)


def pytorch(records: NDArray[Any], probes: Probes, attention: ClippedAttention, threads: int) -> Scorer:
    """PyTorch, with the clipping and the bands."""
    assert probes.terms is not None
    floor, cells = torch.from_numpy(-probes.terms[0]), torch.from_numpy(probes.cells[0])
    first = torch.from_numpy(attention.first_base(probes.terms)[0])
    bands = [(band, torch.from_numpy(band.matrix)) for band in attention.bands]

    @torch.inference_mode()
    def part(start: int, stop: int) -> NDArray[np.float32]:
        torch.set_num_threads(1)  # holds for the thread that calls it
        block = records[start:stop]
        terms = torch.from_numpy(np.ascontiguousarray(block["terms"])).float()
        terms = torch.maximum(terms.mul_(torch.from_numpy(block["term_scale"].copy())[:, None]), floor)
        logits = torch.cat([terms[:, band.start : band.stop] @ matrix for band, matrix in bands], dim=1)
        logits += torch.from_numpy(block["base"].copy()) + first
        weights = torch.softmax(torch.nn.functional.leaky_relu(logits, attention.split.out_slope), 1)
        units = torch.from_numpy(np.ascontiguousarray(block["unit"])).float().view(len(block), *cells.shape)
        similarity = (units * cells).sum(dim=2)
        return np.asarray((weights * similarity).sum(dim=1).numpy() * block["unit_scale"])

    return lambda: _threaded(len(records), threads, part)


def _loops(
    numbers: Any, scales: Any, unit: int, term: int, floor: Any, cells: Any, kernel: Any, logits: Any, similarity: Any
) -> None:
    """Loop over records: the direct 3 x 3 convolution, 16 channels per vector."""
    padded = np.zeros((9, 9, 16), np.float32)
    for n in range(numbers.shape[0]):
        scale = scales[n, 3]
        for r in range(7):
            for q in range(7):
                place = (r * 7 + q) * 16
                for ch in range(16):
                    value = np.float32(numbers[n, term + place + ch]) * scale
                    padded[r + 1, q + 1, ch] = max(value, floor[place + ch])
        for r in range(7):
            for q in range(7):
                total = np.float32(0)
                for ch in range(16):
                    part = np.float32(0)
                    for i in range(3):
                        for j in range(3):
                            part += padded[r + i, q + j, ch] * kernel[i, j, ch]
                    total += part
                logits[n, r * 7 + q] = total
        for k in range(49):
            total = np.float32(0)
            for ch in range(32):
                total += np.float32(numbers[n, unit + k * 32 + ch]) * cells[k, ch]
            similarity[n, k] = total


def compiled(records: NDArray[Any], probes: Probes, attention: ClippedAttention, threads: int) -> Scorer:
    """Numba for the sums, NumPy for the softmax over the cells; ImportError if Numba is not installed."""
    import numba  # noqa: PLC0415 - nothing else needs it

    loops = numba.njit(fastmath=True, nogil=True)(_loops)
    assert probes.terms is not None
    fields = records.dtype.fields
    assert fields is not None
    unit, term = fields["unit"][1] // 2, fields["terms"][1] // 2
    numbers = records.view(np.int16).reshape(len(records), -1)
    scales = records.view(np.float32).reshape(len(records), -1)
    # The middle cell's column of the matrix contains the whole kernel.
    middle = attention.split.out[:, 24].reshape(7, 7, 16)[2:5, 2:5] * np.float32(1 - attention.split.pair_slope)
    # Padding is outside the picture for max(s, -f) too: it stays 0.
    kernel, floor = np.ascontiguousarray(middle), -probes.terms[0]
    first = attention.first_base(probes.terms)[0]

    def part(start: int, stop: int) -> NDArray[np.float32]:
        logits, similarity = np.empty((2, stop - start, 49), np.float32)
        loops(numbers[start:stop], scales[start:stop], unit, term, floor, probes.cells[0], kernel, logits, similarity)
        logits += records["base"][start:stop] + first
        np.maximum(logits, logits * np.float32(attention.split.out_slope), out=logits)
        return np.asarray(_score(logits, similarity) * records["unit_scale"][start:stop])

    part(0, 1)
    return lambda: _threaded(len(records), threads, part)
