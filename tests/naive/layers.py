"""Layers forward and backward: dense, softmax, dropout, the norms; and copies of rows."""

import math

from naive.activations import INFINITY, SLOPE, VALUE, exp

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
