"""A small network in one launch: rows go through all layers forward, and their gradient back.

For chains of dense layers whose weights fit into the shared memory of a block, with activations
whose slope follows from their output. A block reads the weights once and takes tile after tile of
rows; scores, losses and gradients stay in shared memory from layer to layer. What the products of
the weights' gradients need, the values and gradients of every layer, goes to memory too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn.backends.cuda.device.functions import FROM_OUTPUT, slope, value
from fastnn.backends.cuda.device.losses import row_function
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.target import SIMULATED, Kernel, cuda, device_function
from fastnn.losses import LOSSES
from fastnn.program import Program

__all__ = ["Chain", "Dense", "Targets"]

# Layers of a chain: so many matrices are arguments of the kernel.
DEEPEST = 4
# Static shared memory of a block, on every device, in bytes.
SHARED_BYTES = 48 * 1024
THREADS = 8 if SIMULATED else 256
BLOCKS = 2 if SIMULATED else 1024
# Rows of a tile, the most that fit are taken; a thread holds QUAD of them for one column.
QUAD = 4
TILES = (8, 4) if SIMULATED else (16, 8, 4)


class Dense(NamedTuple):
    """A layer of a chain: Y = f(X @ W + b).

    Attributes
    ----------
    I, O : int
        Its inputs and outputs.
    weight, stride, bias : int
        Where W begins in the flat vector, how far its rows lie apart, and where b begins; -1 where
        there is none.
    function : str
        f, one of `functions.FROM_OUTPUT`.
    """

    I: int
    O: int
    weight: int
    stride: int
    bias: int
    function: str

    @property
    def pitch(self) -> int:
        """How far rows of W lie apart in shared memory: odd, so that columns meet all banks."""
        return self.O | 1

    @property
    def room(self) -> int:
        """Elements of shared memory for W and b."""
        return self.I * self.pitch + self.O


class Targets(NamedTuple):
    """What the scores are held against, on the device.

    Attributes
    ----------
    T : Matrix or None
        The targets as values.
    labels : device array of int64, shape (B,), or None
        The targets as labels, in their place.
    weight : device array, shape (B,), or None
    factor : device array of float64, shape (1,)
        Of all slopes.
    """

    T: Matrix | None
    labels: Any
    weight: Any
    factor: Any


class Chain(NamedTuple):
    """A network that is a chain of dense layers, and fits.

    Attributes
    ----------
    layers : tuple of Dense
    rows : int
        Of a tile.
    ops : tuple of int
        The number of the dense op of every layer.
    """

    layers: tuple[Dense, ...]
    rows: int
    ops: tuple[int, ...]

    @classmethod
    def of(cls, program: Program, dtype: np.dtype[Any]) -> Chain | None:
        """Return the chain that a Program is, or None where it is none, or does not fit."""
        layers: list[Dense] = []
        numbers = []
        slot = 0
        for number, op in enumerate(program.ops):
            if op.inputs != (slot,):
                return None
            if op.kind == "dense":
                W, *b = (program.parameters[n] for n in op.parameters)
                bias = b[0].offset if b else -1
                I, O = W.shape
                layers.append(Dense(I, O, W.offset, W.stride, bias, "identity"))
                numbers.append(number)
            elif op.kind == "activation" and layers and op.function in FROM_OUTPUT:
                if layers[-1].function != "identity":
                    return None
                layers[-1] = layers[-1]._replace(function=op.function)
            else:
                return None
            slot = op.output
        if not 0 < len(layers) <= DEEPEST or program.loss.loss not in LOSSES:
            return None
        if program.loss.loss == "cross_entropy" and layers[-1].function != "identity":
            return None
        widths = layers[0].I + sum(layer.O for layer in layers)
        weights = sum(layer.room for layer in layers)
        for rows in TILES:
            if (weights + rows * widths) * dtype.itemsize <= SHARED_BYTES:
                return cls(tuple(layers), rows, tuple(numbers))
        return None

    def predict(self, stream: Any, Y: Matrix, X: Matrix, parameters: Any, B: int) -> None:
        """Set the scores Y (B, O) of the rows X (B, I)."""
        kernel = _network(Y.real, self.layers, self.rows, None)
        told = (*(2 * DEEPEST * Y), Y.at, Y.at, *X, parameters, *X, Y.at, Y.at, Y.at)
        kernel.launch(stream, self._grid(B), (THREADS,), *told, Y.real(0), B)

    def train(
        self,
        stream: Any,
        values: Sequence[Matrix],
        gradients: Sequence[Matrix],
        row_loss: Any,
        hits: Any,
        X: Matrix,
        parameters: Any,
        targets: Targets,
        function: str,
        constant: float,
        B: int,
    ) -> None:
        """Run rows forward and backward.

        Parameters
        ----------
        stream : object
        values, gradients : sequences of Matrix
            For every layer: set to f(X @ W + b), and to the gradient of X @ W + b.
        row_loss, hits : device arrays of float64, shape (B,)
            As in `losses.loss`; hits may be None.
        X : Matrix
            The inputs.
        parameters : device array
            The flat vector.
        targets : Targets
        function, constant : str, float
            The loss.
        B : int
        """
        real, (T, labels, weight, factor) = X.real, targets
        form = function, labels is not None, hits is not None, weight is not None
        kernel = _network(real, self.layers, self.rows, form)
        pairs = zip(values, gradients, strict=True)
        matrices = [number for pair in pairs for m in pair for number in m]
        matrices += 2 * (DEEPEST - len(values)) * X
        told = (
            row_loss,
            row_loss if hits is None else hits,
            *X,
            parameters,
            *(T or X),
            row_loss if labels is None else labels,
            X.at if weight is None else weight,
            factor,
        )
        kernel.launch(stream, self._grid(B), (THREADS,), *matrices, *told, real(constant), B)

    def _grid(self, B: int) -> tuple[int]:
        return (min(-(-B // self.rows), BLOCKS),)


@functools.cache
def _forward(real: Any, layer: Dense, at: tuple[int, int, int], R: int, store: bool) -> Any:
    """Return a device function: a tile through a layer, from shared memory to shared memory."""
    I, O, LD, (W, X, Y) = layer.I, layer.O, layer.pitch, at
    b, f, quads, zero = W + I * LD, value(layer.function, real), R // QUAD * O, real(0)

    @device_function
    def forward(s, C, ldC, row, B, thread):
        for item in range(thread, quads, THREADS):
            r, o = item // O * QUAD, item % O
            y0, y1, y2, y3 = s[b + o], s[b + o], s[b + o], s[b + o]
            x = X + r * I
            for i in range(I):
                w = s[W + i * LD + o]
                y0 += s[x + i] * w
                y1 += s[x + I + i] * w
                y2 += s[x + 2 * I + i] * w
                y3 += s[x + 3 * I + i] * w
            for q in range(QUAD):
                y = f(y0 if q == 0 else y1 if q == 1 else y2 if q == 2 else y3, zero)
                s[Y + (r + q) * O + o] = y
                if store and row + r + q < B:
                    C[(row + r + q) * ldC + o] = y

    return forward


@functools.cache
def _backward(real: Any, layer: Dense, function: str, at: tuple[int, int, int], R: int) -> Any:
    """Return a device function: the gradient behind a layer becomes that before it.

    It takes the place of the values there, which are outputs of the function named.
    """
    I, O, LD, (W, X, Y) = layer.I, layer.O, layer.pitch, at
    df, quads, zero = slope(function, real), R // QUAD * I, real(0)

    @device_function
    def backward(s, D, ldD, row, B, thread):
        for item in range(thread, quads, THREADS):
            r, i = item // I * QUAD, item % I
            d0, d1, d2, d3 = zero, zero, zero, zero
            y, w = Y + r * O, W + i * LD
            for o in range(O):
                v = s[w + o]
                d0 += s[y + o] * v
                d1 += s[y + O + o] * v
                d2 += s[y + 2 * O + o] * v
                d3 += s[y + 3 * O + o] * v
            for q in range(QUAD):
                d = d0 if q == 0 else d1 if q == 1 else d2 if q == 2 else d3
                a = s[X + (r + q) * I + i]
                d *= df(a, a, zero)
                s[X + (r + q) * I + i] = d
                if row + r + q < B:
                    D[(row + r + q) * ldD + i] = d

    return backward


@functools.cache
def _stage(layer: Dense, W: int, real: Any) -> Any:
    """Return a device function: weights and biases go to shared memory."""
    I, O, LD, b, zero = layer.I, layer.O, layer.pitch, W + layer.I * layer.pitch, real(0)
    weight, stride, bias = layer.weight, layer.stride, layer.bias
    has_bias = bias >= 0

    @device_function
    def stage(s, P, thread):
        for item in range(thread, I * O, THREADS):
            i, o = item // O, item % O
            s[W + i * LD + o] = P[weight + i * stride + o]
        for o in range(thread, O, THREADS):
            s[b + o] = P[bias + o] if has_bias else zero

    return stage


@functools.cache
def _network(
    real: Any, layers: tuple[Dense, ...], R: int, form: tuple[str, bool, bool, bool] | None
) -> Kernel:
    """Return the kernel. Shared memory holds weights and biases by layer, then values by layer."""
    L, I, trains = len(layers), layers[0].I, form is not None
    weights = [sum(layer.room for layer in layers[:n]) for n in range(L + 1)]
    at = [weights[L]]
    for width in (I, *(layer.O for layer in layers)):
        at.append(at[-1] + R * width)
    SIZE, INPUT, SCORES, O = at[-1], at[0], at[L], layers[-1].O
    zero = real(0)
    places = [(weights[n], at[n], at[n + 1]) for n in range(L)]
    stages = [_stage(layer, weights[n], real) for n, layer in enumerate(layers)]
    forwards = [
        _forward(real, layer, places[n], R, trains or n == L - 1) for n, layer in enumerate(layers)
    ]
    backwards = [
        _backward(real, layers[n], layers[n - 1].function, places[n], R) for n in range(1, L)
    ]
    # Layers that are not there stand for others, and are not called.
    stage0, stage1, stage2, stage3 = (stages * DEEPEST)[:DEEPEST]
    forward0, forward1, forward2, forward3 = (forwards * DEEPEST)[:DEEPEST]
    backward1, backward2, backward3 = (
        (backwards or [_backward(real, layers[0], "identity", places[0], R)]) * DEEPEST
    )[: DEEPEST - 1]
    two, three, four = L > 1, L > 2, L > 3
    row_loss_of = row_function(
        real, O, layers[-1].function, *(form or ("mse", False, False, False))
    )

    def network(
        Y0, ldY0, D0, ldD0, Y1, ldY1, D1, ldD1, Y2, ldY2, D2, ldD2, Y3, ldY3, D3, ldD3,
        row_loss, hits, X, ldX, P, T, ldT, labels, weight, factor, c, B,
    ):  # fmt: skip
        s = cuda.shared.array(SIZE, real)
        thread = cuda.threadIdx.x
        stage0(s, P, thread)
        if two:
            stage1(s, P, thread)
        if three:
            stage2(s, P, thread)
        if four:
            stage3(s, P, thread)
        row = cuda.blockIdx.x * R
        while row < B:
            cuda.syncthreads()
            for item in range(thread, R * I, THREADS):
                r, i = item // I, item % I
                s[INPUT + item] = X[(row + r) * ldX + i] if row + r < B else zero
            cuda.syncthreads()
            forward0(s, Y0, ldY0, row, B, thread)
            cuda.syncthreads()
            if two:
                forward1(s, Y1, ldY1, row, B, thread)
                cuda.syncthreads()
            if three:
                forward2(s, Y2, ldY2, row, B, thread)
                cuda.syncthreads()
            if four:
                forward3(s, Y3, ldY3, row, B, thread)
                cuda.syncthreads()
            if trains:
                if thread < R and row + thread < B:
                    z = SCORES + thread * O
                    row_loss_of(
                        s, z, row_loss, hits, T, ldT, labels, weight, factor, c, row + thread
                    )
                cuda.syncthreads()
                for item in range(thread, R * O, THREADS):
                    r, o = row + item // O, item % O
                    if r < B:
                        d = s[SCORES + item]
                        if four:
                            D3[r * ldD3 + o] = d
                        elif three:
                            D2[r * ldD2 + o] = d
                        elif two:
                            D1[r * ldD1 + o] = d
                        else:
                            D0[r * ldD0 + o] = d
                cuda.syncthreads()
                if four:
                    backward3(s, D2, ldD2, row, B, thread)
                    cuda.syncthreads()
                if three:
                    backward2(s, D1, ldD1, row, B, thread)
                    cuda.syncthreads()
                if two:
                    backward1(s, D0, ldD0, row, B, thread)
            row += R * cuda.gridDim.x

    return Kernel(network)
