"""ONNX Runtime: predictions of a model that is built here."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cases import Case
from onnx import TensorProto, helper, numpy_helper

from peers import Unable, times_of

OPSET = 17


def describe(threads: int) -> dict[str, Any]:
    """Return the versions."""
    versions = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}
    return {"versions": versions, "details": {"threads": str(threads)}}


def model(case: Case) -> bytes:
    """Return the network of a case as an ONNX file: Gemm and Relu, then Softmax."""
    nodes, constants, at = [], [], "x"
    for n, (weight, bias) in enumerate(case.first_weights()):
        constants += [
            numpy_helper.from_array(weight, f"weight{n}"),
            numpy_helper.from_array(bias, f"bias{n}"),
        ]
        nodes.append(helper.make_node("Gemm", [at, f"weight{n}", f"bias{n}"], [f"score{n}"]))
        at = f"score{n}"
        if n < len(case.layers) - 1:
            nodes.append(helper.make_node("Relu", [at], [f"hidden{n}"]))
            at = f"hidden{n}"
    nodes.append(helper.make_node("Softmax", [at], ["y"], axis=1))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", case.widths[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", case.widths[-1]])],
        constants,
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    file.ir_version = 8
    return file.SerializeToString()


class Trainer:
    """There is none."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        raise Unable("ONNX Runtime's wheel only predicts")


class Predictor:
    """One call of a session after the other, from a NumPy array to a NumPy array."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.note = case, "sequential, all optimizations"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Its threads spin after a call, and would take the cores from the next contestant.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(
            model(case), options, providers=["CPUExecutionProvider"]
        )
        self.X, _ = case.data()
        self.run(3)

    def run(self, calls: int) -> int:
        """Predict so many times."""
        run, feed = self.session.run, {"x": self.X}
        for _ in range(calls):
            run(None, feed)
        return calls

    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single calls."""
        return times_of(partial(self.session.run, None, {"x": self.X}), seconds)

    def outputs(self) -> np.ndarray:
        """Return the probabilities."""
        return self.session.run(None, {"x": self.X})[0]
