"""A float32 ONNX file -> one whose large products are of 8-bit integers, by onnxruntime.

way = choose_way(Path("model.onnx"))
quantise(Path("model.onnx"), Path("model-int8.onnx"), way, batches)

Static: activations are scaled by what calibration images make of them; for convolutional networks. Dynamic: they are
scaled anew for each input, and only matrix products are quantised; for transformers, as onnxruntime advises.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from data.system.errors import UserError, in_one_line
from reid_train.inference.export_formats import INPUT

Way = Literal["static", "dynamic"]
WAYS: tuple[Way, ...] = get_args(Way)
DYNAMIC_PRODUCTS = ["MatMul", "Gemm"]
"""What the dynamic way quantises: onnxruntime's CPU has no convolution of int8 weights for it."""


def choose_way(file: Path) -> Way:
    """Static where more than half of the weights are those of convolutions."""
    import onnx

    graph = onnx.load(file).graph
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    of_convolutions = {name for node in graph.node if node.op_type == "Conv" for name in node.input}
    convolved = sum(size for name, size in sizes.items() if name in of_convolutions)
    return "static" if 2 * convolved > sum(sizes.values()) else "dynamic"


def quantise(file: Path, out: Path, way: Way, batches: Iterable[np.ndarray]) -> None:
    """Writes `out`. `batches` are inputs as the file takes them, for the static way. Raises UserError.

    Weights get 7 bits, a scale for each channel: with 8, sums overflow on processors without VNNI instructions.
    """
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):
        def __init__(self) -> None:
            self.inputs = ({INPUT: batch} for batch in batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.inputs, None)

    options: dict[str, Any] = {"weight_type": ort.QuantType.QInt8, "per_channel": True, "reduce_range": True}
    with _quiet(), tempfile.TemporaryDirectory(prefix="reid-int8-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            ort.shape_inference.quant_pre_process(file, prepared, skip_symbolic_shape=True)
            match way:
                case "static":
                    excluded = _before_the_network(prepared)
                    ort.quantize_static(
                        prepared,
                        out,
                        Reader(),
                        quant_format=ort.QuantFormat.QDQ,
                        activation_type=ort.QuantType.QUInt8,
                        nodes_to_exclude=excluded,
                        **options,
                    )
                case "dynamic":
                    ort.quantize_dynamic(prepared, out, op_types_to_quantize=DYNAMIC_PRODUCTS, **options)
                case _:
                    raise ValueError(f"way={way!r} is none of {', '.join(WAYS)}")
        except Exception as error:  # a model that onnxruntime cannot quantise raises many kinds
            other = WAYS[1 - WAYS.index(way)]
            raise UserError(f"--int8 {way}: onnxruntime fails ({in_one_line(error)}); try --int8 {other}") from error


def _before_the_network(file: Path) -> list[str]:
    """The nodes that come before the first product: the normalisation of colours, which loses by 8 bits."""
    import onnx

    names = list[str]()
    for node in onnx.load(file).graph.node:
        if node.op_type in ("Conv", *DYNAMIC_PRODUCTS):
            break
        names.append(node.name)
    return names


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps from the terminal what onnxruntime says of ways that it would rather have been asked to go."""
    root, before = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
