"""The kernels once more, as loops over Python floats: what judges the reference.

Nothing here comes from the package, nor from NumPy. Every function carries the name of a row of the
kernel table. It takes the arrays that the kernel reads (lists, or lists of lists) and its
constants, and returns what the kernel computes by the name of the output. Whether that is set or
added, and the dtype in which it is stored, is the business of the caller. What a kernel returns
stands under "return". Where a formula has two forms, this is the one that the package does not use.
"""

import math

INFINITY = math.inf

# -- activations ---------------------------------------------------------------------------------


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


# -- dense ---------------------------------------------------------------------------------------


def dense_forward(X, W, b, function):
    B, I, O = len(X), len(W), len(W[0])
    Y = [[0.0] * O for _ in range(B)]
    for r in range(B):
        for o in range(O):
            Y[r][o] = 0.0 if b is None else b[o]
            for i in range(I):
                Y[r][o] += X[r][i] * W[i][o]
            Y[r][o] = VALUE[function](Y[r][o], 0.0)
    return {"Y": Y}


def bfloat16(x):
    """Return the number of 8 significant bits that is nearest to the float32 nearest to x."""
    x = single(x)
    if x == 0 or not math.isfinite(x):
        return x
    if abs(x) < 2.0**-126:
        return math.copysign(0.0, x)
    mantissa, exponent = math.frexp(x)
    rounded = math.ldexp(round(mantissa * 256), exponent - 8)  # round() takes the even one of two
    return rounded if abs(rounded) < 2.0**128 else math.copysign(INFINITY, x)


def single(x):
    """Return the float32 nearest to x; what is below the normal ones stays as it is."""
    if x == 0 or not math.isfinite(x) or abs(x) < 2.0**-126:
        return x
    mantissa, exponent = math.frexp(x)
    rounded = math.ldexp(round(mantissa * 2**24), exponent - 24)
    return rounded if abs(rounded) < 2.0**128 else math.copysign(INFINITY, x)


def round_bfloat16(X):
    return {"Y": [[bfloat16(x) for x in row] for row in X]}


def dense_forward_bfloat16(X, W, b, function):
    rounded = ([[bfloat16(x) for x in row] for row in factor] for factor in (X, W))
    return dense_forward(*rounded, b, function)


def dense_backward_data(dY, W, X):
    B, I, O = len(dY), len(W), len(W[0])
    dX = [[0.0] * I for _ in range(B)]
    for r in range(B):
        for i in range(I):
            for o in range(O):
                dX[r][i] += dY[r][o] * W[i][o]
            if X is not None:
                dX[r][i] *= SLOPE["relu"](X[r][i], 0.0)
    return {"dX": dX}


def dense_backward_weights(X, dY):
    B, I, O = len(X), len(X[0]), len(dY[0])
    dW = [[0.0] * O for _ in range(I)]
    db = [0.0] * O
    for r in range(B):
        for o in range(O):
            db[o] += dY[r][o]
            for i in range(I):
                dW[i][o] += X[r][i] * dY[r][o]
    return {"dW": dW, "db": db}


# -- softmax, dropout, layer norm ----------------------------------------------------------------


def softmax(x):
    largest = max(x)
    powers = [exp(v - largest) for v in x]
    return [p / math.fsum(powers) for p in powers]


def softmax_forward(X):
    return {"Y": [softmax(x) for x in X]}


def softmax_backward(dY, Y):
    O = len(Y[0])
    dX = [[0.0] * O for _ in Y]
    for r, y in enumerate(Y):
        for i in range(O):  # through the whole Jacobian of the row
            for j in range(O):
                dX[r][i] += dY[r][j] * y[j] * ((i == j) - y[i])
    return {"dX": dX}


def philox4x32(counter, key):
    """Salmon et al. 2011: ten rounds of two products each; the keys walk a Weyl sequence."""
    x, k = list(counter), list(key)
    for _ in range(10):
        first, second = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [
            (second >> 32) ^ x[1] ^ k[0],
            second % 2**32,
            (first >> 32) ^ x[3] ^ k[1],
            first % 2**32,
        ]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return x


def kept(rate, seed, step, layer, row, column):
    """Tell whether dropout keeps an element: a pure function of where and when it is."""
    key = (seed % 2**32, seed // 2**32)
    last = layer % 2**16 + (step // 2**32 % 2**16) * 2**16
    words = philox4x32((column // 4, row, step % 2**32, last), key)
    return words[column % 4] >= math.floor(rate * 2**32)


def dropout(X, rate, seed, step, layer, first_row):
    def element(r, o):
        keep = kept(rate, seed, step, layer, first_row + r, o)
        return X[r][o] / (1 - rate) if keep else 0.0

    return {"Y": [[element(r, o) for o in range(len(X[0]))] for r in range(len(X))]}


def layer_norm_forward(X, scale, shift, epsilon):
    O = len(X[0])
    Y, means, inverses = [], [], []
    for x in X:
        mean = math.fsum(x) / O
        variance = math.fsum((v - mean) ** 2 for v in x) / O
        inverse = 1 / math.sqrt(variance + epsilon)
        Y.append([(x[o] - mean) * inverse * scale[o] + shift[o] for o in range(O)])
        means.append(mean)
        inverses.append(inverse)
    return {"Y": Y, "mean": means, "inverse_deviation": inverses}


def layer_norm_backward_data(dY, X, mean, inverse_deviation, scale):
    B, O = len(X), len(X[0])
    dX = [[0.0] * O for _ in range(B)]
    for r in range(B):
        h = [(v - mean[r]) * inverse_deviation[r] for v in X[r]]
        for i in range(O):  # dy_j/dx_i = scale_j inverse ((i == j) - 1/O - h_i h_j / O)
            for j in range(O):
                jacobian = (i == j) - 1 / O - h[i] * h[j] / O
                dX[r][i] += dY[r][j] * scale[j] * inverse_deviation[r] * jacobian
    return {"dX": dX}


def layer_norm_backward_parameters(dY, X, mean, inverse_deviation):
    O = len(X[0])
    dscale, dshift = [0.0] * O, [0.0] * O
    for r, x in enumerate(X):
        for o in range(O):
            dscale[o] += dY[r][o] * (x[o] - mean[r]) * inverse_deviation[r]
            dshift[o] += dY[r][o]
    return {"dscale": dscale, "dshift": dshift}


# -- batch norm ----------------------------------------------------------------------------------


def batch_norm_statistics(X):
    B, means, variances = len(X), [], []
    for column in zip(*X, strict=True):
        means.append(math.fsum(column) / B)
        variances.append(math.fsum((x - means[-1]) ** 2 for x in column) / B)
    return {"mean": means, "variance": variances}


def normalized(x, mean, variance, epsilon):
    return (x - mean) / math.sqrt(variance + epsilon)


def batch_norm_forward(X, mean, variance, scale, shift, epsilon):
    def element(x, o):
        return normalized(x, mean[o], variance[o], epsilon) * scale[o] + shift[o]

    return {"Y": [[element(x[o], o) for o in range(len(x))] for x in X]}


def batch_norm_backward_data(dY, X, mean, variance, scale, epsilon, batch_statistics):
    B, O = len(X), len(mean)
    dX = [[0.0] * O for _ in range(B)]
    for o in range(O):
        deviation = math.sqrt(variance[o] + epsilon)
        h = [normalized(X[r][o], mean[o], variance[o], epsilon) for r in range(B)]
        for i in range(B):
            for j in range(B):  # dh_j/dx_i = ((i == j) - 1/B - h_i h_j / B) / deviation
                moved = 1 / B + h[i] * h[j] / B if batch_statistics else 0.0
                dX[i][o] += dY[j][o] * ((i == j) - moved)
            dX[i][o] = dX[i][o] * scale[o] / deviation
    return {"dX": dX}


def batch_norm_backward_parameters(dY, X, mean, variance, epsilon):
    O = len(mean)
    dscale, dshift = [0.0] * O, [0.0] * O
    for r, x in enumerate(X):
        for o in range(O):
            dscale[o] += dY[r][o] * normalized(x[o], mean[o], variance[o], epsilon)
            dshift[o] += dY[r][o]
    return {"dscale": dscale, "dshift": dshift}


def batch_norm_update(running_mean, running_variance, mean, variance, momentum, rows):
    new = {"running_mean": [], "running_variance": []}
    for o in range(len(mean)):
        new["running_mean"].append(momentum * mean[o] + (1 - momentum) * running_mean[o])
        old = running_variance[o]
        unbiased = variance[o] * rows / (rows - 1) if rows > 1 else old
        new["running_variance"].append(momentum * unbiased + (1 - momentum) * old)
    return new


# -- rows ----------------------------------------------------------------------------------------


def copy(X):
    return {"Y": [list(x) for x in X]}


def gather_rows(X, index):
    return {"Y": [list(X[i]) for i in index]}


def first_nonfinite(X):
    place = 0
    for x in X:
        for value in x:
            if not math.isfinite(value):
                return {"return": place}
            place += 1
    return {"return": -1}


# -- losses: the value of one output, and its slope in the score ---------------------------------


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


# -- the flat vector: what stands there afterwards -----------------------------------------------


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


def adam_update(w, m, v, g, rate, beta1, beta2, epsilon, weight_decay, decoupled, step):
    new = {"w": [], "m": [], "v": []}
    for n in range(len(w)):
        slope = g[n] if decoupled else g[n] + weight_decay * w[n]
        weight = w[n] - rate * weight_decay * w[n] if decoupled else w[n]
        mean = beta1 * m[n] + (1 - beta1) * slope
        square = beta2 * v[n] + (1 - beta2) * slope**2
        unbiased = mean / (1 - beta1**step), square / (1 - beta2**step)
        new["m"].append(mean)
        new["v"].append(square)
        new["w"].append(weight - rate * unbiased[0] / (math.sqrt(unbiased[1]) + epsilon))
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
