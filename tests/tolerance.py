"""All tolerances: how far a kernel may be from the truth, by the classes of the kernel table.

A bound is  c * eps * n * size  with one constant c for a class. eps belongs to the dtype of the
kernel (twice the unit roundoff), n counts the roundings behind one result, and size is the result
with every minus turned into a plus: the sum of the absolute values of what is added up. Where
nothing cancels, size is the result itself, and the bound is one in ULP. Where a formula rounds the
argument of a function (the square in a Gaussian, the cube in gelu_tanh), size holds what that
moves.
"""

import math

import numpy as np

# The constant of each class. `exact` has no rounding of its own: the correctly rounded truth. Over
# all calls of the tests, the worst of the NumPy reference is 0.60 of its bound (mish in float32),
# the worst of the C core 0.71 (mish in float64).
CLASSES = {
    "exact": 0.0,
    # K products and K sums of unit roundoff eps / 2, against a truth that is no worse.
    "product": 1.0,
    # Four ULP: two for a polynomial of one function, the rest for the few operations around it.
    "elementwise": 4.0,
    "reduction": 2.0,
    "loss": 4.0,
    "update": 4.0,
}

# What underflow may take from a result, in units of the smallest number above 0: a handful of
# operations below the smallest normal number, where a relative error has no meaning.
UNDERFLOW = 128.0

# Whole executables against the truth, relative to the largest element of a vector: one pass through
# a network, and twenty steps of training.
PASS = {"float32": 1e-4, "float64": 1e-12}
TRAJECTORY = {"float32": 1e-4, "float64": 1e-10}
# The same numbers, summed in another order or from other weights, in float64.
REGROUPED = 1e-13
# The sum of the probabilities of a row, in units of eps.
SUM_OF_PROBABILITIES = 8
# The slopes of the loops against differences of their values: relative, and absolute.
LOOPS = {"rel": 1e-9, "abs": 1e-10}
# Gradients against differences of fourth order: of the element, or of the share of the largest.
GRADIENT, GRADIENT_SHARE = 1e-7, 1e-2


def allowed(kernel, arrays, constants, truth):
    """Return for every output how far from the truth it may be.

    `arrays` are those of the call as they were before it, `truth` what should stand in the outputs.
    """
    held = (arrays[a.name] for a in kernel.arguments if a.dtype == "real")
    real = next(array.dtype for array in held if array is not None)
    wide = {n: None if a is None else np.asarray(a, np.float64) for n, a in arrays.items()}
    constant = CLASSES[kernel.tolerance]
    if kernel.tolerance == "exact":
        return {name: np.zeros(np.shape(value)) for name, value in truth.items()}
    sizes = SIZES[kernel.name](**wide, **constants)
    bounds = {}
    for name, value in truth.items():
        n, size, *gain = sizes[name]
        info = np.finfo(np.float64 if name == "return" else real)  # what is returned stays wide
        if kernel.accumulator == "float64" and info.dtype == np.float32:
            n = min(n, ROUNDINGS)  # the sum itself rounds nothing that float32 would notice
        if constants.get("accumulate"):
            size = size + np.abs(wide[name])
        roundings = constant * float(info.eps) * n * np.broadcast_to(size, np.shape(value))
        lost = UNDERFLOW * n * float(info.smallest_subnormal)
        bounds[name] = roundings + lost * np.maximum(1.0, *gain) if gain else roundings + lost
    return bounds


# Operations around a sum: what forms a summand, and what is done with the total.
ROUNDINGS = 4

# -- activations: sizes of f and of f' -----------------------------------------------------------


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _normal_cdf(x):
    flat = [0.5 * math.erfc(-v * math.sqrt(0.5)) for v in np.ravel(x).tolist()]
    return np.reshape(flat, np.shape(x))


def _gaussian(x):
    # exp(-x²/2) from a rounded square
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) * (1 + 0.5 * x * x)


def _gelu_tanh_score(x):
    root = math.sqrt(2 / math.pi)
    return root * (x + 0.044715 * x**3), root * (1 + 3 * 0.044715 * x * x)


def _gelu_tanh(x):
    # x (1 + tanh u) / 2, and the rounded u moves tanh by its slope
    u, _ = _gelu_tanh_score(x)
    t = np.abs(np.tanh(u))
    return 0.5 * np.abs(x) * (1 + t + np.abs(u) * 4 * _sigmoid(2 * u) * _sigmoid(-2 * u))


def _gelu_tanh_slope(x):
    u, inner = _gelu_tanh_score(np.clip(x, -1e4, 1e4))
    t = np.abs(np.tanh(u))
    # Beyond 20, tanh is 1 in float64 even if its last bits are wrong, and the second term vanishes.
    return 0.5 * (1 + t) + 0.5 * np.abs(x) * np.where(np.abs(u) < 20, (1 + t * t) * inner, 0)


def _mish_tanh(x):
    return np.tanh(np.logaddexp(0, x))


# sigmoid(βx) from a rounded βx
def _swish(x, beta):
    z = beta * x
    return _sigmoid(z) * (1 + np.abs(z) * _sigmoid(-z))


VALUE = {
    "identity": lambda x, c: np.abs(x),
    "heaviside": lambda x, c: np.ones_like(x),
    "sigmoid": lambda x, c: _sigmoid(x),
    "tanh": lambda x, c: np.abs(np.tanh(x)),
    "relu": lambda x, c: np.abs(x),
    "leaky_relu": lambda x, c: np.abs(np.where(x > 0, x, c * x)),
    "elu": lambda x, c: np.abs(np.where(x > 0, x, c * np.expm1(np.minimum(x, 0)))),
    "selu": lambda x, c: np.abs(np.where(x > 0, 1.0507 * x, 1.7581 * np.expm1(np.minimum(x, 0)))),
    "gelu": lambda x, c: np.abs(x) * _normal_cdf(x) * (1 + np.where(x < 0, 0.5 * x * x, 0)),
    "gelu_tanh": lambda x, c: _gelu_tanh(x),
    "silu": lambda x, c: np.abs(x) * _swish(x, c),
    "softplus": lambda x, c: np.logaddexp(0, x),
    "softsign": lambda x, c: np.abs(x) / (1 + np.abs(x)),
    "mish": lambda x, c: np.abs(x) * _mish_tanh(x),
    "sine": lambda x, c: np.abs(np.sin(x)),
    "exp": lambda x, c: np.exp(x),
}

SLOPE = {
    "identity": lambda x, c: np.ones_like(x),
    "heaviside": lambda x, c: np.zeros_like(x),
    "sigmoid": lambda x, c: _sigmoid(x) * (1 + _sigmoid(x)),  # a (1 - a)
    "tanh": lambda x, c: 1 + np.tanh(x) ** 2,  # 1 - a²
    "relu": lambda x, c: np.ones_like(x),
    "leaky_relu": lambda x, c: np.where(x > 0, 1, np.abs(c)),
    "elu": lambda x, c: np.where(x > 0, 1, np.abs(c) * np.exp(np.minimum(x, 0))),
    "selu": lambda x, c: np.where(x > 0, 1.0507, 1.7581 * np.exp(np.minimum(x, 0))),
    "gelu": lambda x, c: _normal_cdf(x) + np.abs(x) * _gaussian(x),
    "gelu_tanh": lambda x, c: _gelu_tanh_slope(x),
    "silu": lambda x, c: _swish(x, c) * (1 + np.abs(c * x) * (1 + _sigmoid(c * x))),
    "softplus": lambda x, c: _sigmoid(x),
    "softsign": lambda x, c: 1 / (1 + np.abs(x)) ** 2,
    "mish": lambda x, c: _mish_tanh(x) + np.abs(x) * (1 + _mish_tanh(x) ** 2) * _sigmoid(x),
    "sine": lambda x, c: np.abs(np.cos(x)),
    "exp": lambda x, c: np.exp(x),
}

# -- sizes of the outputs of every kernel that rounds --------------------------------------------
# (n, size), and where a value that may underflow is multiplied, the factor


def dense_forward(X, W, b, **_):
    bias = 0 if b is None else np.abs(b)
    return {"Y": (len(W) + 2, np.abs(X) @ np.abs(W) + bias)}


def dense_forward_bfloat16(X, W, b, **_):
    # the factors are rounded before the truth is told, to 8 bits: a little larger at most
    return dense_forward(X * (1 + 2**-8), W * (1 + 2**-8), b)


def dense_backward_data(dY, W, X, **_):
    return {"dX": (W.shape[1] + 2, np.abs(dY) @ np.abs(W).T)}


def dense_backward_weights(X, dY, **_):
    n = len(X) + 2
    return {"dW": (n, np.abs(X).T @ np.abs(dY)), "db": (n, np.abs(dY).sum(axis=0))}


def activation_forward(X, function, constant, **_):
    return {"Y": (1, VALUE[function](X, constant), np.where(np.isfinite(X), np.abs(X), 1))}


def activation_backward(dY, X, function, constant, **_):
    # Slopes such as that of mish multiply what has underflowed by the score.
    gain = np.abs(dY) * np.where(np.isfinite(X), np.maximum(1, np.abs(X)), 1)
    return {"dX": (1, np.abs(dY) * SLOPE[function](X, constant), gain)}


def gate_forward(U, V, function, constant, **_):
    return {"Y": (1, np.abs(U) * VALUE[function](V, constant), np.abs(U))}


def gate_backward(dY, U, V, function, constant, **_):
    dY, U = np.abs(dY), np.abs(U)
    return {
        "dU": (1, dY * VALUE[function](V, constant), dY),
        "dV": (1, dY * U * SLOPE[function](V, constant), (1 + dY) * (1 + U)),
    }


def gate_backward_beta(dY, U, V, beta, **_):
    s = _sigmoid(beta * V)
    summands = np.abs(dY * U * V * V) * s * (1 + s) * (1 + np.abs(beta * V))
    return {"dbeta": (V.size + ROUNDINGS, np.atleast_1d(summands.sum()))}


def _softmax(z):
    """Return the probabilities, and the size of each: exp takes a rounded argument."""
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(axis=1, keepdims=True)
    moved = np.abs(shifted)
    return p, p * (1 + moved + (p * moved).sum(axis=1, keepdims=True)), moved


def softmax_forward(X, **_):
    return {"Y": (X.shape[1] + ROUNDINGS, _softmax(X)[1])}


def softmax_backward(dY, Y, **_):
    total = np.abs(dY * Y).sum(axis=1, keepdims=True)
    return {"dX": (Y.shape[1] + ROUNDINGS, np.abs(Y) * (np.abs(dY) + total))}


def dropout(X, rate, **_):
    return {"Y": (1, np.abs(X) / (1 - rate))}


def layer_norm_forward(X, scale, shift, epsilon, **_):
    n = X.shape[1] + ROUNDINGS
    size = np.abs(X).mean(axis=1)
    centred = np.abs(X - X.mean(axis=1, keepdims=True))
    centred_size = centred + size[:, None]
    inverse = 1 / np.sqrt((centred**2).mean(axis=1) + epsilon)
    variance_size = (centred**2 + 2 * centred * centred_size).mean(axis=1)
    inverse_size = inverse + 0.5 * inverse**3 * variance_size
    straight = centred * inverse_size[:, None] + centred_size * inverse[:, None]
    return {
        "mean": (n, size),
        "inverse_deviation": (n, inverse_size),
        "Y": (n, straight * np.abs(scale) + np.abs(shift)),
    }


def _normalized(X, mean, inverse_deviation):
    return (np.abs(X) + np.abs(mean)[:, None]) * inverse_deviation[:, None]


def layer_norm_backward_data(dY, X, mean, inverse_deviation, scale, **_):
    H, dH = _normalized(X, mean, inverse_deviation), np.abs(dY * scale)
    pull = dH.mean(axis=1, keepdims=True) + H * (dH * H).mean(axis=1, keepdims=True)
    return {"dX": (X.shape[1] + ROUNDINGS, inverse_deviation[:, None] * (dH + pull))}


def layer_norm_backward_parameters(dY, X, mean, inverse_deviation, **_):
    n, H = len(X) + ROUNDINGS, _normalized(X, mean, inverse_deviation)
    return {"dscale": (n, np.abs(dY * H).sum(axis=0)), "dshift": (n, np.abs(dY).sum(axis=0))}


def batch_norm_statistics(X, **_):
    n = len(X) + ROUNDINGS
    size, centred = np.abs(X).mean(axis=0), np.abs(X - X.mean(axis=0))
    variance_size = (centred**2 + 2 * centred * (centred + size)).mean(axis=0)
    return {"mean": (n, size), "variance": (n, variance_size)}


def _column_normalized(X, mean, variance, epsilon):
    """Return 1 / sqrt(variance + epsilon), and the size of what it normalizes."""
    inverse = 1 / np.sqrt(variance + epsilon)
    return inverse, (np.abs(X) + np.abs(mean)) * inverse


def batch_norm_forward(X, mean, variance, scale, shift, epsilon, **_):
    _, H = _column_normalized(X, mean, variance, epsilon)
    return {"Y": (1, H * np.abs(scale) + np.abs(shift), np.abs(scale))}


def batch_norm_backward_data(dY, X, mean, variance, scale, epsilon, batch_statistics, **_):
    inverse, H = _column_normalized(X, mean, variance, epsilon)
    dY, gain = np.abs(dY), np.abs(scale) * inverse
    pull = dY.mean(axis=0) + H * (dY * H).mean(axis=0) if batch_statistics else 0
    return {"dX": (len(X) + ROUNDINGS, (dY + pull) * gain, gain * (1 + H))}


def batch_norm_backward_parameters(dY, X, mean, variance, epsilon, **_):
    n, dY = len(X) + ROUNDINGS, np.abs(dY)
    inverse, H = _column_normalized(X, mean, variance, epsilon)
    return {"dscale": (n, (dY * H).sum(axis=0), inverse), "dshift": (n, dY.sum(axis=0))}


def batch_norm_update(running_mean, running_variance, mean, variance, momentum, rows, **_):
    factor = momentum * rows / max(rows - 1, 1)
    return {
        "running_mean": (1, (1 - momentum) * np.abs(running_mean) + momentum * np.abs(mean)),
        "running_variance": (1, (1 - momentum) * running_variance + factor * variance),
    }


def _cross_entropy(z, t, smoothing):
    target = np.abs((1 - smoothing) * t) + smoothing / z.shape[1]
    p, p_size, moved = _softmax(z)
    mass = target.sum(axis=1)
    log_sum = np.log(np.exp(-moved).sum(axis=1)) + (p * moved).sum(axis=1) + 1
    return mass * log_sum + (target * moved).sum(axis=1), mass[:, None] * p_size + target


def _binary(z, t):
    return np.logaddexp(0, -np.abs(z)) + np.maximum(z, 0) + np.abs(z * t), _sigmoid(z) + np.abs(t)


PER_OUTPUT = {
    "mse": lambda d, c: (d * d, 2 * d),
    "mae": lambda d, c: (d, np.ones_like(d)),
    "huber": lambda d, c: (np.where(d <= c, d * d / 2, c * (d + c / 2)), np.minimum(d, c)),
    "quantile": lambda d, c: (max(c, 1 - c) * d, np.ones_like(d)),
}
PER_SCORE = {
    "binary_cross_entropy": _binary,
    "poisson": lambda z, t: (np.exp(z) + np.abs(t * z), np.exp(z) + np.abs(t)),
    "hinge": lambda z, t: (1 + np.abs(t * z), np.abs(t)),
}


def loss(Z, T, weight, function, constant, factor, **_):
    n = Z.shape[1] + ROUNDINGS
    if function == "cross_entropy":
        value, slope = _cross_entropy(Z, T, constant)
    else:
        per = PER_OUTPUT.get(function)
        values, slopes = per(np.abs(Z - T), constant) if per else PER_SCORE[function](Z, T)
        value, slope = values.mean(axis=1), slopes / Z.shape[1]
    share = np.full(len(Z), abs(factor)) if weight is None else abs(factor) * weight
    # A hit is counted, not rounded.
    return {"row_loss": (n, value), "dZ": (n, slope * share[:, None]), "hits": (n, 0.0)}


def loss_labels(Z, labels, weight, constant, factor, **_):
    one_hot = (labels[:, None] == np.arange(Z.shape[1])).astype(np.float64)
    return loss(Z, one_hot, weight, "cross_entropy", constant, factor)


def penalty(dW, W, l1, l2, **_):
    size = l1 + l2 * np.abs(W)
    total = (l1 * np.abs(W) + l2 / 2 * W * W).sum()
    sizes = {"return": (W.size + ROUNDINGS, total)}
    return sizes if dW is None else {**sizes, "dW": (ROUNDINGS, np.abs(dW) + size)}


def sum_of_squares(g, **_):
    return {"return": (g.size + ROUNDINGS, (g * g).sum())}


def scale(g, factor, **_):
    return {"g": (1, np.abs(g * factor))}


def sgd_update(w, velocity, g, rate, momentum, nesterov, weight_decay, **_):
    slope = np.abs(g) + weight_decay * np.abs(w)
    moving = slope if velocity is None else momentum * np.abs(velocity) + slope
    step = slope + momentum * moving if nesterov else moving
    return {"velocity": (1, moving), "w": (1, np.abs(w) + rate * step)}


def _root(square, square_size):
    """Return the root of a moving square and the size of that root."""
    root = np.sqrt(square)
    return root, root + 0.5 * np.divide(square_size, root, out=np.zeros_like(root), where=root > 0)


def _square(v, g, g_size, decay):
    """Return ``decay v + (1 - decay) g²`` and its size, for a g that may have cancelled."""
    size = decay * v + (1 - decay) * np.abs(g) * (np.abs(g) + 2 * g_size)
    return decay * v + (1 - decay) * g * g, size


def adam_update(w, m, v, g, rate, beta1, beta2, epsilon, weight_decay, decoupled, step, **_):
    slope = g if decoupled else g + weight_decay * w
    slope_size = np.abs(g) + (0 if decoupled else weight_decay * np.abs(w))
    mean = np.abs(beta1 * m + (1 - beta1) * slope)
    mean_size = beta1 * np.abs(m) + (1 - beta1) * slope_size
    square, square_size = _square(v, slope, slope_size, beta2)
    correction = math.sqrt(1 - beta2**step)
    root, root_size = (r / correction for r in _root(square, square_size))
    size = rate / (1 - beta1**step)
    move = mean_size / (root + epsilon) + mean * (root_size + epsilon) / (root + epsilon) ** 2
    w_size = np.abs(w) + size * move
    return {"m": (1, mean_size), "v": (1, square_size), "w": (1, w_size, 1 / epsilon)}


def rmsprop_update(w, v, buffer, g, rate, decay, momentum, epsilon, weight_decay, **_):
    slope, slope_size = g + weight_decay * w, np.abs(g) + weight_decay * np.abs(w)
    square, square_size = _square(v, slope, slope_size, decay)
    root, root_size = _root(square, square_size)
    move = slope_size / (root + epsilon)
    move = move + np.abs(slope) * (root_size + epsilon) / (root + epsilon) ** 2
    if buffer is not None:
        move = move + momentum * np.abs(buffer)
    w_size = np.abs(w) + rate * move
    return {"v": (1, square_size), "buffer": (1, move, 1 / epsilon), "w": (1, w_size, 1 / epsilon)}


def adagrad_update(w, v, g, rate, epsilon, weight_decay, **_):
    slope, slope_size = g + weight_decay * w, np.abs(g) + weight_decay * np.abs(w)
    square_size = v + np.abs(slope) * (np.abs(slope) + 2 * slope_size)
    root, root_size = _root(v + slope * slope, square_size)
    move = slope_size / (root + epsilon)
    move = move + np.abs(slope) * (root_size + epsilon) / (root + epsilon) ** 2
    return {"v": (1, square_size), "w": (1, np.abs(w) + rate * move, 1 / epsilon)}


def nadam_update(
    w, m, v, g, rate, beta1, beta2, epsilon, momentum_decay, weight_decay, product, step, **_
):
    slope, slope_size = g + weight_decay * w, np.abs(g) + weight_decay * np.abs(w)
    mean, mean_size = (
        beta1 * a + (1 - beta1) * b for a, b in ((m, slope), (np.abs(m), slope_size))
    )
    square, square_size = _square(v, slope, slope_size, beta2)
    correction = math.sqrt(1 - beta2**step)
    root, root_size = (r / correction for r in _root(square, square_size))
    mu, ahead = (beta1 * (1 - 0.96 ** (n * momentum_decay) / 2) for n in (step, step + 1))
    old, new = (1 - mu) / (1 - product), ahead / (1 - product * ahead)
    move = (old * slope_size + new * mean_size) / (root + epsilon)
    away = (root_size + epsilon) / (root + epsilon) ** 2
    move = move + (old * np.abs(slope) + new * np.abs(mean)) * away
    w_size = np.abs(w) + rate * move
    return {"m": (1, mean_size), "v": (1, square_size), "w": (1, w_size, 1 / epsilon)}


def lion_update(w, m, g, rate, beta1, beta2, weight_decay, **_):
    summands = beta1 * np.abs(m) + (1 - beta1) * np.abs(g)
    # A sum that rounding may take for 0, or over it, has no sign that could be judged.
    unsure = np.abs(beta1 * m + (1 - beta1) * g) <= 1e-6 * summands + 1e-37
    w_size = np.abs(w) * (1 + rate * weight_decay) + rate
    m_size = beta2 * np.abs(m) + (1 - beta2) * np.abs(g)
    return {"w": (1, np.where(unsure, np.inf, w_size)), "m": (1, m_size)}


def max_norm(W, **_):
    return {"W": (len(W) + ROUNDINGS, np.abs(W))}


SIZES = {
    function.__name__: function
    for function in (
        dense_forward,
        dense_forward_bfloat16,
        dense_backward_data,
        dense_backward_weights,
        activation_forward,
        activation_backward,
        gate_forward,
        gate_backward,
        gate_backward_beta,
        softmax_forward,
        softmax_backward,
        dropout,
        layer_norm_forward,
        layer_norm_backward_data,
        layer_norm_backward_parameters,
        batch_norm_statistics,
        batch_norm_forward,
        batch_norm_backward_data,
        batch_norm_backward_parameters,
        batch_norm_update,
        loss,
        loss_labels,
        penalty,
        sum_of_squares,
        scale,
        sgd_update,
        adam_update,
        rmsprop_update,
        adagrad_update,
        nadam_update,
        lion_update,
        max_norm,
    )
}
