"""Losses: the value of one output, and its slope in the score; whole batches."""

import math

from naive.activations import VALUE, exp, sigmoid


def huber(d, delta):
    return d * d / 2 if abs(d) <= delta else delta * abs(d) - delta * delta / 2


def sign(d):
    return (d > 0) - (d < 0)


def cross_entropy(z, t, smoothing):
    O = len(z)
    target = [(1 - smoothing) * v + smoothing / O for v in t]
    largest = max(z)
    log_sum = math.log(math.fsum(exp(v - largest) for v in z))
    log_p = [v - largest - log_sum for v in z]
    value = -math.fsum(target[o] * log_p[o] for o in range(O))
    return value, [math.fsum(target) * exp(log_p[o]) - target[o] for o in range(O)]


PER_OUTPUT = {
    "mse": lambda z, t, c: ((z - t) ** 2, 2 * (z - t)),
    "mae": lambda z, t, c: (abs(z - t), sign(z - t)),
    "huber": lambda z, t, c: (huber(z - t, c), max(-c, min(c, z - t))),
    "quantile": lambda z, t, c: (
        c * max(t - z, 0) + (1 - c) * max(z - t, 0),
        (1 - c) * (z > t) - c * (z < t),
    ),
    "poisson": lambda z, t, c: (exp(z) - t * z, exp(z) - t),
    "hinge": lambda z, t, c: (max(0.0, 1 - t * z), -t if t * z < 1 else 0.0),
    "binary_cross_entropy": lambda z, t, c: (
        t * VALUE["softplus"](-z, 0) + (1 - t) * VALUE["softplus"](z, 0),
        sigmoid(z) - t,
    ),
}


def row_of_loss(z, t, function, constant):
    if function == "cross_entropy":
        return cross_entropy(z, t, constant)
    pairs = [PER_OUTPUT[function](a, b, constant) for a, b in zip(z, t, strict=True)]
    return math.fsum(v for v, _ in pairs) / len(z), [slope / len(z) for _, slope in pairs]


def row_of_hits(z, t, function):
    if function == "cross_entropy":
        return float(z.index(max(z)) == t.index(max(t)))
    if function == "binary_cross_entropy":
        return sum((a > 0) == (b > 0.5) for a, b in zip(z, t, strict=True)) / len(z)
    if function == "hinge":
        return sum((a > 0) == (b > 0) for a, b in zip(z, t, strict=True)) / len(z)
    return None  # there is no right and wrong; the kernel leaves the element alone


def loss(Z, T, weight, function, constant, factor):
    row_loss, hits, dZ = [], [], []
    for r, (z, t) in enumerate(zip(Z, T, strict=True)):
        value, slopes = row_of_loss(z, t, function, constant)
        share = factor if weight is None else factor * weight[r]
        row_loss.append(value)
        hits.append(row_of_hits(z, t, function))
        dZ.append([share * slope for slope in slopes])
    return {"row_loss": row_loss, "hits": hits, "dZ": dZ}


def loss_labels(Z, labels, weight, constant, factor):
    one_hot = [[float(o == label) for o in range(len(Z[0]))] for label in labels]
    return loss(Z, one_hot, weight, "cross_entropy", constant, factor)
