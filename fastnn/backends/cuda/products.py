"""The products of dense layers: by our kernels, or by cuBLAS where it is installed and pays."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastnn.backends.cuda import cublas
from fastnn.backends.cuda.device import columns, elementwise, product
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.memory import Device, address
from fastnn.backends.precision import get_float32_matmul_precision

__all__ = ["CUBLAS_WORK", "Products"]

# Multiply-adds from which a product goes to cuBLAS: below it, bias, activation and slope cost more
# as launches of their own than the better product saves. Not measured yet: `make bench-cuda` times
# both sides of it.
CUBLAS_WORK = 1 << 24


class Products:
    """The three products of a dense layer on a stream.

    Parameters
    ----------
    device : Device
    dtype : numpy.dtype
    library : object
        cuBLAS, as `cublas.find_library` returned it, or None.
    least : int
        Multiply-adds from which it is used.
    """

    def __init__(
        self, device: Device, dtype: np.dtype[Any], library: Any, least: int = CUBLAS_WORK
    ) -> None:
        self._device, self._dtype, self._library, self._least = device, dtype, library, least
        self._workspace: Any = None
        self._blas: cublas.Cublas | None = None

    def precision(self) -> str:
        """Return what a recorded product depends on, beside its arguments."""
        return get_float32_matmul_precision()

    def _cublas(self, work: int) -> cublas.Cublas | None:
        """Return cuBLAS for a product of so many multiply-adds, None for our own kernel."""
        if self._library is None or work < self._least:
            return None
        if self._blas is None:
            self._workspace = self._device.empty(cublas.WORKSPACE_BYTES, np.uint8)
            try:
                self._blas = cublas.Cublas(
                    self._library, self._device.handle, address(self._workspace)
                )
            except cublas.CublasError as error:
                self._library = self._workspace = None
                warnings.warn(
                    f"cuBLAS cannot be used, so large products are slower: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return None
        self._blas.use_tf32(self.precision() == "high")
        return self._blas

    def forward(
        self,
        stream: Any,
        Y: Matrix,
        X: Matrix,
        W: Matrix,
        b: Any,
        function: str,
        constant: float,
        B: int,
        I: int,
        O: int,
    ) -> None:
        """Set ``Y = f(X W + b)``; see `device.product.forward`."""
        blas = self._cublas(B * I * O)
        if blas is None:
            product.forward(stream, Y, X, W, b, function, constant, B, I, O)
            return
        blas.forward(self._dtype, _pair(Y), _pair(X), _pair(W), B, I, O)
        if b is not None:
            elementwise.add_bias(stream, Y, b, function, constant, B, O)
        elif function != "identity":
            elementwise.activation_forward(stream, Y, Y, function, constant, B, O)

    def backward_data(
        self,
        stream: Any,
        dX: Matrix,
        dY: Matrix,
        W: Matrix,
        X: Matrix | None,
        function: str,
        constant: float,
        accumulate: bool,
        B: int,
        I: int,
        O: int,
    ) -> None:
        """Set ``dX = dY Wᵀ``, times the slope of f at X; see `device.product.backward_data`."""
        blas = self._cublas(B * I * O)
        if blas is None:
            product.backward_data(stream, dX, dY, W, X, function, constant, accumulate, B, I, O)
            return
        blas.backward_data(self._dtype, _pair(dX), _pair(dY), _pair(W), accumulate, B, I, O)
        if X is not None:
            elementwise.activation_backward(stream, dX, dX, X, X, function, constant, False, B, I)

    def backward_weights(
        self,
        stream: Any,
        dW: Matrix,
        db: Any,
        X: Matrix,
        dY: Matrix,
        accumulate: bool,
        B: int,
        I: int,
        O: int,
    ) -> None:
        """Set ``dW = Xᵀ dY`` and ``db``; see `device.product.backward_weights`."""
        blas = self._cublas(B * I * O)
        if blas is None:
            product.backward_weights(stream, dW, db, X, dY, accumulate, B, I, O)
            return
        blas.backward_weights(self._dtype, _pair(dW), _pair(X), _pair(dY), accumulate, B, I, O)
        if db is not None:
            columns.column_sums(stream, db, dY, accumulate, B, O)


def _pair(matrix: Matrix) -> tuple[int, int]:
    return address(matrix.at), matrix.ld
