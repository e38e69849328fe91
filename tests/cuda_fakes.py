"""Stand-ins for what the CUDA backend calls in C: they record, and compute on the processor."""

import ctypes

import numpy as np

from fastnn.backends.cuda import graphs


class FakeCublas:
    """cuBLAS on the processor.

    Every function returns `status` where its name is `failing`, else 0.
    """

    def __init__(self, failing="", status=0):
        self.failing, self.status = failing, status
        self.calls, self.math, self.stream, self.workspace = [], None, None, None

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            if name == self.failing:
                return self.status
            getattr(self, f"_{name}")(*arguments)
            return 0

        return call

    def _cublasCreate_v2(self, handle):
        handle._obj.value = 77

    def _cublasDestroy_v2(self, handle):
        assert handle.value == 77

    def _cublasSetStream_v2(self, handle, stream):
        assert handle.value == 77
        self.stream, self.workspace = stream.value, None  # as the manual says

    def _cublasSetWorkspace_v2(self, handle, memory, size):
        self.workspace = memory.value, size.value

    def _cublasSetMathMode(self, handle, mode):
        self.math = mode.value

    def _cublasGetVersion_v2(self, handle, version):
        version._obj.value = 120804

    def _cublasSgemm_v2(self, *arguments):
        self._gemm(np.float32, ctypes.c_float, *arguments)

    def _cublasDgemm_v2(self, *arguments):
        self._gemm(np.float64, ctypes.c_double, *arguments)

    def _gemm(self, dtype, number, handle, *arguments):
        assert handle.value == 77
        turn_a, turn_b, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc = arguments
        assert isinstance(alpha._obj, number)
        assert isinstance(beta._obj, number)
        a = columns_first(A, lda, k if turn_a.value else m, m if turn_a.value else k, dtype)
        b = columns_first(B, ldb, n if turn_b.value else k, k if turn_b.value else n, dtype)
        c = columns_first(C, ldc, m, n, dtype)
        product = (a.T if turn_a.value else a) @ (b.T if turn_b.value else b)
        c[...] = alpha._obj.value * product + (beta._obj.value * c if beta._obj.value else 0)


def columns_first(address, ld, rows, columns, dtype):
    """Return the matrix that stands at an address, columns first."""
    assert ld.value >= rows.value
    number = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    memory = (number * (ld.value * columns.value)).from_address(address.value)
    return np.frombuffer(memory, dtype).reshape(columns.value, ld.value)[:, : rows.value].T


class FakeDriver:
    """Records launches between begin and end of a capture, and runs them when they are replayed."""

    def __init__(self, failing="", status=900, stream=5):
        self.stream, self.failing, self.status = stream, failing, status
        self.calls, self.recording, self.graphs = [], None, {}

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            result = getattr(self, f"_{name}")(*arguments)
            return self.status if name == self.failing else result or 0

        return call

    def launch(self, function):
        """Do what a launch does on the stream: run it, or record it."""
        if self.recording is None:
            function()
        else:
            self.recording.append(function)

    def _cuStreamBeginCapture_v2(self, stream, mode):
        assert (stream.value, mode.value) == (self.stream, graphs.RELAXED)
        self.recording = []

    def _cuStreamEndCapture(self, stream, graph):
        graph._obj.value = len(self.graphs) + 1
        self.graphs[graph._obj.value], self.recording = self.recording, None

    def _cuGraphInstantiateWithFlags(self, executable, graph, flags):
        assert flags.value == 0
        executable._obj.value = 100 + graph.value
        self.graphs[executable._obj.value] = self.graphs[graph.value]

    def _cuGraphLaunch(self, executable, stream):
        assert stream.value == self.stream
        for function in self.graphs[executable.value]:
            function()

    def _cuGraphDestroy(self, graph):
        del self.graphs[graph.value]

    def _cuGraphExecDestroy(self, executable):
        del self.graphs[executable.value]
