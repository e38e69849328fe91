"""Matrix products by cuBLAS, called through ctypes: a handful of functions whose ABI is old.

cuBLAS counts columns first. A matrix stored row by row is for it the transposed matrix with the
same leading dimension, and ``C = A B`` is ``Cᵀ = Bᵀ Aᵀ``: so the factors change places, the flags
say which of them is to be turned, and nothing is copied.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
from typing import Any

import numpy as np

__all__ = ["Cublas", "CublasError", "find_library"]

# cublas_api.h: cublasOperation_t and cublasMath_t.
AS_IT_IS, TURNED = 0, 1
DEFAULT_MATH, TF32_MATH = 0, 3

# cublas_api.h: cublasStatus_t.
STATUS = {
    1: "NOT_INITIALIZED: it could not be set up on this GPU, often for want of memory",
    3: "ALLOC_FAILED: no memory for its workspace",
    7: "INVALID_VALUE: a size or leading dimension is out of range",
    8: "ARCH_MISMATCH: this GPU is too old for the call",
    11: "MAPPING_ERROR: memory of the GPU could not be reached",
    13: "EXECUTION_FAILED: the product failed on the GPU",
    14: "INTERNAL_ERROR: a call inside of it failed",
    15: "NOT_SUPPORTED: this GPU does not support the call",
    16: "LICENSE_ERROR: its licence was refused",
}
OUT_OF_MEMORY = (3,)

# A fixed workspace: inside a captured graph cuBLAS must not ask for memory. 32 MiB is what NVIDIA
# recommends for Hopper (cuBLAS manual, cublasSetWorkspace); older GPUs want 4 MiB.
WORKSPACE_BYTES = 32 << 20

# The names of the library where no package knows the way, the newest first.
SONAMES = ("libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so")

# The largest size that the calls with sizes of 32 bits take.
MOST = 2**31 - 1


class CublasError(RuntimeError):
    """A call of cuBLAS failed; the message names the call and what cuBLAS says."""

    def __init__(self, call: str, status: int) -> None:
        self.status = status
        super().__init__(f"{call} failed: CUBLAS_STATUS_{STATUS.get(status, status)}")


def find_library() -> Any:
    """Return cuBLAS as a `ctypes.CDLL`, or None where it is not installed.

    The wheel of NVIDIA is found by the package cuda.pathfinder, which comes with numba-cuda; else
    the loader of the system is asked.
    """
    try:
        finder = importlib.import_module("cuda.pathfinder")
        path = finder.load_nvidia_dynamic_lib("cublas").abs_path
        names = [path] if path else []
    except (ImportError, RuntimeError):  # no such package, or it finds nothing
        names = []
    for name in (*names, *SONAMES):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


class Cublas:
    """A handle of cuBLAS on a stream.

    Parameters
    ----------
    library : object
        What `find_library` returned.
    stream : int
        Address of the stream on which all products run.
    workspace : int
        Address of `WORKSPACE_BYTES` bytes on the device, which must stay as long as the handle.

    Raises
    ------
    MemoryError
        When cuBLAS finds no memory.
    CublasError
        When it fails otherwise.
    """

    def __init__(self, library: Any, stream: int, workspace: int) -> None:
        self._library = library
        self._handle = ctypes.c_void_p()
        self._math = DEFAULT_MATH
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        handle = self._handle
        self._call("cublasSetStream_v2", handle, ctypes.c_void_p(stream))
        # Setting a stream takes back the workspace, so this comes behind it.
        size = ctypes.c_size_t(WORKSPACE_BYTES)
        self._call("cublasSetWorkspace_v2", handle, ctypes.c_void_p(workspace), size)
        self._call("cublasSetMathMode", handle, ctypes.c_int(DEFAULT_MATH))

    @property
    def version(self) -> str:
        """Version of the library, such as ``"12.8.4"``."""
        found = ctypes.c_int()
        self._call("cublasGetVersion_v2", self._handle, ctypes.byref(found))
        number = found.value
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    def close(self) -> None:
        """Free the handle; nothing is to be called behind this."""
        handle, self._handle = self._handle, ctypes.c_void_p()
        if handle.value:
            self._call("cublasDestroy_v2", handle)

    def use_tf32(self, tf32: bool) -> None:
        """Choose whether factors of float32 products are rounded to TF32."""
        math = TF32_MATH if tf32 else DEFAULT_MATH
        if math != self._math:
            self._call("cublasSetMathMode", self._handle, ctypes.c_int(math))
            self._math = math

    def forward(self, dtype: Any, Y: Any, X: Any, W: Any, B: int, I: int, O: int) -> None:
        """Set ``Y = X W``; a matrix is a pair of address and leading dimension."""
        self._product(dtype, (AS_IT_IS, AS_IT_IS), (O, B, I), W, X, 0.0, Y)

    def backward_data(
        self, dtype: Any, dX: Any, dY: Any, W: Any, accumulate: bool, B: int, I: int, O: int
    ) -> None:
        """Set ``dX = dY Wᵀ``, or add it."""
        self._product(dtype, (TURNED, AS_IT_IS), (I, B, O), W, dY, float(accumulate), dX)

    def backward_weights(
        self, dtype: Any, dW: Any, X: Any, dY: Any, accumulate: bool, B: int, I: int, O: int
    ) -> None:
        """Set ``dW = Xᵀ dY``, or add it."""
        self._product(dtype, (AS_IT_IS, TURNED), (O, I, B), dY, X, float(accumulate), dW)

    def _product(
        self,
        dtype: Any,
        turns: tuple[int, int],
        sizes: tuple[int, int, int],
        first: tuple[int, int],
        second: tuple[int, int],
        beta: float,
        result: tuple[int, int],
    ) -> None:
        """Call gemm: sizes are the columns and rows of the result, and the length of the sums."""
        if max(*sizes, first[1], second[1], result[1]) > MOST:
            raise CublasError("a product of more than 2**31 - 1 rows or columns", 7)
        single = np.dtype(dtype).itemsize == 4
        number = ctypes.c_float if single else ctypes.c_double
        name = "cublasSgemm_v2" if single else "cublasDgemm_v2"
        m, n, k = map(ctypes.c_int, sizes)
        self._call(
            name,
            self._handle,
            *map(ctypes.c_int, turns),
            m,
            n,
            k,
            ctypes.byref(number(1.0)),
            ctypes.c_void_p(first[0]),
            ctypes.c_int(first[1]),
            ctypes.c_void_p(second[0]),
            ctypes.c_int(second[1]),
            ctypes.byref(number(beta)),
            ctypes.c_void_p(result[0]),
            ctypes.c_int(result[1]),
        )

    def _call(self, name: str, *arguments: Any) -> None:
        status = int(getattr(self._library, name)(*arguments))
        if status in OUT_OF_MEMORY:
            raise MemoryError(f"{name} of cuBLAS found no memory on the GPU")
        if status:
            raise CublasError(name, status)
