"""Twins of networks, one of which takes the thorough road always, and what is brought to them."""

import numpy as np

import fastnn as fn
from fastnn import losses

I, O, B = 5, 3, 7


def network(layers=None, compiled=None, **told):
    layers = layers or [fn.Dense(6, "relu"), fn.Dense(O, "softmax")]
    backend = compiled.name if compiled else "auto"
    return fn.Network(layers, **{"input_size": I, "backend": backend, "seed": 3, **told})


def thorough(net):
    """Make a network take the thorough road always."""
    net._executable.try_predict = lambda X, out, bfloat16: None
    net._executable.try_step = lambda *arguments: None
    return net


def closed(net):
    """Close the thorough road: whoever takes it finds no door."""
    net._door = None
    return net


def twins(*arguments, **told):
    return network(*arguments, **told), thorough(network(*arguments, **told))


def rows(count=B, dtype=np.float32, width=I):
    return np.random.default_rng(count).normal(size=(count, width)).astype(dtype)


def outcome(call):
    """Return all that a caller can learn of a call."""
    try:
        result = call()
    except Exception as error:
        return type(error), str(error)
    if isinstance(result, np.ndarray):
        return type(result), result.dtype, result.shape, result.flags.c_contiguous, result.tobytes()
    return type(result), result


def standing(net):
    """Return the bytes of all that training changes, and its counts."""
    state = net._state.optimizer
    arrays = net._executable.parameters, net._executable.states, state.moments
    return [a.tobytes() for a in arrays], state.step, state.product, net.epochs


# -- networks and their targets ------------------------------------------------------------------

NETWORKS = {
    "classes": [fn.Dense(6, "relu"), fn.Dense(O, "softmax")],
    "values": [fn.Dense(6, "gelu"), fn.LayerNorm(), fn.Dense(O)],
    "probabilities": [fn.Gated(4, "swiglu"), fn.Dropout(0.3), fn.Dense(O, "sigmoid")],
    "counts": [fn.BatchNorm(), fn.Dense(4, "tanh"), fn.Dense(O, "exp")],
    "wide": [fn.Dense(400, "relu"), fn.Dropout(0.2), fn.Dense(O)],
    "one": [fn.Dense(3, "tanh"), fn.Dense(1)],
}


def targets(name, count, dtype):
    rng = np.random.default_rng(count)
    if name == "classes":
        return rng.integers(0, O, count)
    if name == "probabilities":
        return rng.random((count, O)).astype(dtype)
    if name == "counts":
        return rng.integers(0, 4, (count, O)).astype(dtype)
    shape = (count,) if name == "one" else (count, O)
    return rng.normal(size=shape).astype(dtype)


def loss_of(name):
    return losses.Poisson() if name == "counts" else "auto"


# -- layouts of arrays ---------------------------------------------------------------------------


def moved(X):
    """Return the same numbers at an address that is no multiple of their size."""
    raw = np.zeros(X.nbytes + 1, np.uint8)
    result = raw[1:].view(X.dtype).reshape(X.shape)
    result[...] = X
    return result


class Subclass(np.ndarray):
    pass


def put(X, index, value):
    changed = X.copy()
    changed[index] = value
    return changed


def frozen(X):
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS = {
    "wider": lambda X: X.astype(np.float64),
    "narrower": lambda X: X.astype(np.float16),
    "integers": lambda X: X.astype(np.int32),
    "bool": lambda X: X > 0,
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "complex": lambda X: X.astype(complex),
    "dates": lambda X: X.astype("datetime64[s]"),
    "text": lambda X: X.astype("U"),
    "strings": lambda X: X.astype(np.dtypes.StringDType()),
    "objects": lambda X: X.astype(object),
    "structured": lambda X: np.zeros(len(X), [("a", X.dtype), ("b", X.dtype)]),
    "Fortran": np.asfortranarray,
    "every other column": lambda X: np.repeat(X, 2, axis=-1)[..., ::2],
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "backwards": lambda X: X[::-1][..., ::-1],
    "overlapping rows": lambda X: np.lib.stride_tricks.as_strided(
        np.tile(X.reshape(-1), 2), X.shape, (*X.strides[:-1], 2 * X.itemsize)
    ),
    "broadcast": lambda X: np.broadcast_to(X[:1], X.shape),
    "unaligned": moved,
    "list": lambda X: X.tolist(),
    "tuple of rows": tuple,
    "subclass": lambda X: X.view(Subclass),
    "masked": lambda X: np.ma.masked_array(X, X > 0),
    "memoryview": memoryview,
    "read-only": frozen,
    "flat": lambda X: X.reshape(-1),
    "first row": lambda X: X[0],
    "a number": lambda X: X.reshape(-1)[0],
    "0-d": lambda X: np.array(X.reshape(-1)[0]),
    "3-d": lambda X: X[None],
    "no rows": lambda X: X[:0],
    "no columns": lambda X: X.reshape(len(X), -1)[:, :0],
    "too few": lambda X: X.reshape(len(X), -1)[:, 1:].copy(),
    "too many": lambda X: np.concatenate([X, X], axis=-1),
    "other rows": lambda X: X[1:].copy(),
    "NaN": lambda X: put(X.astype(np.result_type(X, np.float32)), (-1, ..., -1)[: X.ndim], np.nan),
    "infinity": lambda X: put(X.astype(np.result_type(X, np.float32)), 0, -np.inf),
    "nothing": lambda X: None,
}
