"""The flat vectors of parameters and gradients: what stands there afterwards."""

import math

from naive.losses import sign


def penalty(dW, W, l1, l2):
    total = l1 * math.fsum(abs(w) for w in W) + l2 / 2 * math.fsum(w * w for w in W)
    if dW is None:
        return {"return": total}
    return {"return": total, "dW": [d + l1 * sign(w) + l2 * w for d, w in zip(dW, W, strict=True)]}


def sum_of_squares(g):
    return {"return": math.fsum(v * v for v in g)}


def clip(g, limit):
    return {"g": [max(-limit, min(limit, v)) for v in g]}


def scale(g, factor):
    return {"g": [v * factor for v in g]}


def sgd_update(w, velocity, g, rate, momentum, nesterov, weight_decay):
    new_w, new_velocity = [], []
    for n in range(len(w)):
        slope = g[n] + weight_decay * w[n]
        moving = slope if velocity is None else momentum * velocity[n] + slope
        new_velocity.append(moving)
        new_w.append(w[n] - rate * (slope + momentum * moving if nesterov else moving))
    return {"w": new_w} if velocity is None else {"w": new_w, "velocity": new_velocity}


def adam_update(
    w, m, v, g, rate, beta1, beta2, epsilon, epsilon_hat, weight_decay, decoupled, step
):
    new = {"w": [], "m": [], "v": []}
    for n in range(len(w)):
        slope = g[n] if decoupled else g[n] + weight_decay * w[n]
        weight = w[n] - rate * weight_decay * w[n] if decoupled else w[n]
        mean = beta1 * m[n] + (1 - beta1) * slope
        square = beta2 * v[n] + (1 - beta2) * slope**2
        move = mean / (1 - beta1**step)
        if epsilon_hat:
            move *= math.sqrt(1 - beta2**step) / (math.sqrt(square) + epsilon)
        else:
            move /= math.sqrt(square / (1 - beta2**step)) + epsilon
        new["m"].append(mean)
        new["v"].append(square)
        new["w"].append(weight - rate * move)
    return new


def rmsprop_update(w, v, buffer, g, rate, decay, momentum, epsilon, weight_decay):
    new = {"w": [], "v": []} if buffer is None else {"w": [], "v": [], "buffer": []}
    for n in range(len(w)):
        slope = g[n] + weight_decay * w[n]
        square = decay * v[n] + (1 - decay) * slope**2
        move = slope / (math.sqrt(square) + epsilon)
        if buffer is not None:
            move += momentum * buffer[n]
            new["buffer"].append(move)
        new["v"].append(square)
        new["w"].append(w[n] - rate * move)
    return new


def adagrad_update(w, v, g, rate, epsilon, weight_decay):
    new = {"w": [], "v": []}
    for n in range(len(w)):
        slope = g[n] + weight_decay * w[n]
        total = v[n] + slope**2
        new["v"].append(total)
        new["w"].append(w[n] - rate / (math.sqrt(total) + epsilon) * slope)
    return new


def nadam_momentum(beta1, momentum_decay, step):
    return beta1 - beta1 / 2 * 0.96 ** (step * momentum_decay)


def nadam_update(
    w, m, v, g, rate, beta1, beta2, epsilon, momentum_decay, weight_decay, product, step
):
    mu, ahead = (nadam_momentum(beta1, momentum_decay, n) for n in (step, step + 1))
    new = {"w": [], "m": [], "v": []}
    for n in range(len(w)):
        slope = g[n] + weight_decay * w[n]
        mean = beta1 * m[n] + (1 - beta1) * slope
        square = beta2 * v[n] + (1 - beta2) * slope**2
        move = (1 - mu) * slope / (1 - product) + ahead * mean / (1 - product * ahead)
        new["m"].append(mean)
        new["v"].append(square)
        root = math.sqrt(square / (1 - beta2**step))
        new["w"].append(w[n] - rate * move / (root + epsilon))
    return new


def lion_update(w, m, g, rate, beta1, beta2, weight_decay):
    new = {"w": [], "m": []}
    for n in range(len(w)):
        direction = sign(beta1 * m[n] + (1 - beta1) * g[n])
        new["w"].append(w[n] - rate * (direction + weight_decay * w[n]))
        new["m"].append(beta2 * m[n] + (1 - beta2) * g[n])
    return new


def max_norm(W, limit):
    norms = [math.sqrt(math.fsum(v * v for v in column)) for column in zip(*W, strict=True)]
    factors = [limit / max(limit, norm) for norm in norms]
    return {"W": [[v * f for v, f in zip(row, factors, strict=True)] for row in W]}
