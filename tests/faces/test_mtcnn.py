"""MTCNN's layers against naive loops and OpenCV-free arithmetic, the reading of its weights, and the cascade."""

import io
import pickle
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.faces import mtcnn as mtcnn_weights
from whyface.faces.mtcnn import (
    CascadeSettings,
    MtcnnDetector,
    Networks,
    Tensor,
    arrays_of_joblib,
    convolve,
    face_probability,
    load_networks,
    max_pool,
    prelu,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def zero_networks() -> Networks:
    stored = (mtcnn_weights._PROPOSAL, mtcnn_weights._REFINEMENT, mtcnn_weights._OUTPUT)
    return Networks(*([np.zeros(shape, np.float32) for shape in part.shapes] for part in stored))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_convolution(size: int) -> None:
    x, kernel, bias = random(2, 6, 5, 3), random(size, size, 3, 4, seed=1), random(4, seed=2)
    expected = np.zeros((2, 7 - size, 6 - size, 4))
    for n, row, column in product(range(2), range(7 - size), range(6 - size)):
        window = x[n, row : row + size, column : column + size]
        expected[n, row, column] = np.einsum("ijc,ijco->o", window, kernel) + bias
    np.testing.assert_allclose(convolve(x, kernel, bias), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "cover", "side", "result"), [(2, True, 5, 3), (2, True, 4, 2), (3, True, 22, 11), (3, False, 9, 4)]
)
def test_pooling(size: int, cover: bool, side: int, result: int) -> None:
    x = random(1, side, side, 2)
    found = max_pool(x, size, cover=cover)
    assert found.shape == (1, result, result, 2)
    for row, column in product(range(result), range(result)):
        window = x[0, 2 * row : 2 * row + size, 2 * column : 2 * column + size]
        np.testing.assert_array_equal(found[0, row, column], window.max(axis=(0, 1)))


def test_prelu_and_probability() -> None:
    x = np.array([[-2.0, -2.0], [3.0, 3.0]], np.float32)
    np.testing.assert_allclose(prelu(x, np.array([0.5, 2.0], np.float32)), [[-1, -4], [3, 3]])
    found = face_probability(np.array([[0, 0], [0, np.log(3)], [900, 0], [0, 900]], np.float32))
    np.testing.assert_allclose(found, [0.5, 0.75, 0, 1], atol=1e-6)


def test_the_networks_shapes() -> None:
    networks = zero_networks()
    probability, offsets = networks.propose(np.zeros((1, 12, 12, 3), np.float32))
    assert probability.shape == (1, 1) and offsets.shape == (1, 1, 4)
    probability, offsets = networks.propose(np.zeros((1, 40, 31, 3), np.float32))
    assert probability.shape == (15, 11) and offsets.shape == (15, 11, 4)
    assert [part.shape for part in networks.refine(np.zeros((5, 24, 24, 3), np.float32))] == [(5,), (5, 4)]
    shapes = [part.shape for part in networks.finish(np.zeros((5, 48, 48, 3), np.float32))]
    assert shapes == [(5,), (5, 4), (5, 5, 2)]


def test_unsure_networks_find_nothing() -> None:
    photo = np.full((90, 70, 3), 100, np.uint8)
    assert MtcnnDetector(zero_networks()).detect(photo) == []
    assert MtcnnDetector(zero_networks()).detect(photo[:8, :8]) == []


def test_credulous_networks_find_faces_within_the_photo() -> None:
    settings = CascadeSettings(smallest_face=40, thresholds=(0.4, 0.4, 0.4))
    found = MtcnnDetector(zero_networks(), settings).detect(np.full((90, 70, 3), 100, np.uint8))
    assert found and [face.area for face in found] == sorted((face.area for face in found), reverse=True)
    assert all(face.landmarks.shape == (5, 2) and face.score == 0.5 for face in found)
    assert all(face.box[0] >= -1 and face.box[1] >= -1 and face.box[2] <= 78 and face.box[3] <= 98 for face in found)


class NumpyArrayWrapper:
    """Stands in for joblib's class of that name: pickled with its state, the array follows in the stream."""


def stored(arrays: list[NDArray[np.float32]], padding: int = 3) -> bytes:
    """Write arrays as joblib does: after each wrapper's state, a count of padding bytes, the padding, the array."""
    stream = io.BytesIO(b"\x80\x04]")
    stream.seek(0, io.SEEK_END)
    for array in arrays:
        wrapper = NumpyArrayWrapper()
        wrapper.__dict__.update(shape=array.shape, order="C", allow_mmap=True)
        body = pickle.dumps(wrapper, protocol=4)
        # Without protocol, frame and stop, to go on in the same stream.
        stream.write(body[11:-1] + bytes([padding]) + b"\xff" * padding + array.tobytes() + b"a")
    stream.write(b".")
    return stream.getvalue()


@pytest.mark.parametrize("padding", [0, 3, 15])
def test_arrays_are_taken_out_of_the_stream(padding: int) -> None:
    arrays = [random(3, 4), random(2), random(2, 3, 2, 2)]
    found = arrays_of_joblib(stored(arrays, padding), [array.shape for array in arrays])
    for one, other in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_streams_that_do_not_fit() -> None:
    arrays = [random(3, 4), random(2)]
    data = stored(arrays)
    for bad, shapes in (
        (data, [(3, 4)]),
        (data, [(3, 4), (2,), (5,)]),
        (data[: len(data) // 2], [(3, 4), (2,)]),
        (b"no pickle", [(3, 4)]),
        (b"", [(3, 4)]),
    ):
        with pytest.raises(ModelError, match="mtcnn"):
            arrays_of_joblib(bad, shapes)


def test_a_pickle_is_never_run(tmp_path: object) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (pytest.fail, ("the pickle was run",))

    with pytest.raises(ModelError):
        arrays_of_joblib(pickle.dumps(Trap(), protocol=4), [(3,)])


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mtcnn_weights, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'whyface\[mtcnn\]'"):
        load_networks()
