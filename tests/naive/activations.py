"""Activations and gates: their values and slopes."""

import math

INFINITY = math.inf


def exp(x):
    try:
        return math.exp(x)
    except OverflowError:
        return INFINITY


def sigmoid(x):
    return exp(x) / (1 + exp(x)) if x < 0 else 1 / (1 + exp(-x))


def sigmoid_slope(x):
    return exp(-abs(x)) / (1 + exp(-abs(x))) ** 2


def normal_cdf(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def normal_density(x):
    return exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gelu_tanh_score(x):
    """Return 2 u for the u in x (1 + tanh u) / 2 = x sigmoid(2 u), and its slope."""
    root = math.sqrt(2 / math.pi)
    return 2 * root * (x + 0.044715 * x**3), 2 * root * (1 + 3 * 0.044715 * x * x)


def mish_tanh(x):
    """Return tanh(softplus(x)) = ((1 + e)² - 1) / ((1 + e)² + 1) with e = exp(x), and its slope."""
    if x > 20:  # the squares would overflow
        return 1 - 2 * exp(-2 * x), 4 * exp(-2 * x)
    e = exp(x)
    square = (1 + e) ** 2
    return e * (e + 2) / (square + 1), 4 * e * (1 + e) / (square + 1) ** 2


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

VALUE = {
    "identity": lambda x, c: x,
    "heaviside": lambda x, c: 1.0 if x >= 0 else 0.0,
    "sigmoid": lambda x, c: sigmoid(x),
    "tanh": lambda x, c: math.tanh(x),
    "relu": lambda x, c: x if x > 0 else 0.0,
    "leaky_relu": lambda x, c: x if x > 0 else c * x,
    "elu": lambda x, c: x if x > 0 else c * math.expm1(x),
    "selu": lambda x, c: SELU_SCALE * (x if x > 0 else SELU_ALPHA * math.expm1(x)),
    "gelu": lambda x, c: x * normal_cdf(x),
    "gelu_tanh": lambda x, c: x * sigmoid(gelu_tanh_score(x)[0]),
    "silu": lambda x, c: x * sigmoid(c * x),
    "softplus": lambda x, c: x + math.log1p(exp(-x)) if x > 0 else math.log1p(exp(x)),
    "softsign": lambda x, c: x / (1 + abs(x)),
    "mish": lambda x, c: x * mish_tanh(x)[0],
    "sine": lambda x, c: math.sin(x),
    "exp": lambda x, c: exp(x),
}


def silu_slope(x, beta):
    return sigmoid(beta * x) + beta * x * sigmoid_slope(beta * x)


def gelu_tanh_slope(x):
    if abs(x) > 1e5:  # far beyond the bend, where the squares would overflow
        return 1.0 if x > 0 else 0.0
    score, slope = gelu_tanh_score(x)
    return sigmoid(score) + x * sigmoid_slope(score) * slope


SLOPE = {
    "identity": lambda x, c: 1.0,
    "heaviside": lambda x, c: 0.0,
    "sigmoid": lambda x, c: sigmoid_slope(x),
    "tanh": lambda x, c: 4 * sigmoid_slope(2 * x),  # 1 / cosh²
    "relu": lambda x, c: 1.0 if x > 0 else 0.0,
    "leaky_relu": lambda x, c: 1.0 if x > 0 else c,
    "elu": lambda x, c: 1.0 if x > 0 else c * exp(x),
    "selu": lambda x, c: SELU_SCALE * (1.0 if x > 0 else SELU_ALPHA * exp(x)),
    "gelu": lambda x, c: normal_cdf(x) + x * normal_density(x),
    "gelu_tanh": lambda x, c: gelu_tanh_slope(x),
    "silu": silu_slope,
    "softplus": lambda x, c: sigmoid(x),
    "softsign": lambda x, c: 1 / (1 + abs(x)) ** 2 if abs(x) < 1e150 else 0.0,
    "mish": lambda x, c: mish_tanh(x)[0] + x * mish_tanh(x)[1],
    "sine": lambda x, c: math.cos(x),
    "exp": lambda x, c: exp(x),
}


def activation_forward(X, function, constant):
    return {"Y": [[VALUE[function](x, constant) for x in row] for row in X]}


def activation_backward(dY, X, Y, function, constant):
    B, O = len(X), len(X[0])
    dX = [[dY[r][o] * SLOPE[function](X[r][o], constant) for o in range(O)] for r in range(B)]
    return {"dX": dX}


def gate_forward(U, V, function, constant):
    B, O = len(U), len(U[0])
    Y = [[U[r][o] * VALUE[function](V[r][o], constant) for o in range(O)] for r in range(B)]
    return {"Y": Y}


def gate_backward(dY, U, V, function, constant):
    B, O = len(U), len(U[0])
    dU = [[0.0] * O for _ in range(B)]
    dV = [[0.0] * O for _ in range(B)]
    for r in range(B):
        for o in range(O):
            dU[r][o] = dY[r][o] * VALUE[function](V[r][o], constant)
            dV[r][o] = dY[r][o] * U[r][o] * SLOPE[function](V[r][o], constant)
    return {"dU": dU, "dV": dV}


def gate_backward_beta(dY, U, V, beta):
    total = 0.0
    for r in range(len(U)):
        for o in range(len(U[0])):
            total += dY[r][o] * U[r][o] * V[r][o] ** 2 * sigmoid_slope(beta * V[r][o])
    return {"dbeta": [total]}
