"""Every number of the backward pass of a 2-2-1 network, by hand, held against fastnn.

The network is ``z = sigmoid(x W + b) v + c`` and its loss the squared error ``(z - t)²``. The hand
calculation is the chain rule, from the loss back to the inputs, one plain number at a time.

Run it with ``python examples/backward_by_hand.py``.
"""

import math

import fastnn as fn

X = [0.5, -1.0]
T = 0.75
W = [[0.1, -0.2], [0.4, 0.3]]  # W[i][j] leads from input i to hidden unit j
B = [0.05, -0.1]
V = [0.6, -0.5]
C = 0.2


def by_hand():
    """Return the loss and its derivatives by the names that fastnn gives them; print every step."""
    print("forward")
    a = []
    for j in range(2):
        s = X[0] * W[0][j] + X[1] * W[1][j] + B[j]
        a.append(1 / (1 + math.exp(-s)))
        print(
            f"  s{j} = x0 w0{j} + x1 w1{j} + b{j} = {s:+.6f}    a{j} = sigmoid(s{j}) = {a[j]:.6f}"
        )
    z = a[0] * V[0] + a[1] * V[1] + C
    loss = (z - T) ** 2
    print(f"  z  = a0 v0 + a1 v1 + c = {z:+.6f}")
    print(f"  loss = (z - t)^2 = {loss:.6f}")

    print("backward")
    dz = 2 * (z - T)
    print(f"  dz  = 2 (z - t) = {dz:+.6f}    dc = dz")
    dv = [dz * a[j] for j in range(2)]
    da = [dz * V[j] for j in range(2)]
    ds = [da[j] * a[j] * (1 - a[j]) for j in range(2)]
    for j in range(2):
        print(f"  dv{j} = dz a{j} = {dv[j]:+.6f}    da{j} = dz v{j} = {da[j]:+.6f}")
        print(f"  ds{j} = da{j} a{j} (1 - a{j}) = {ds[j]:+.6f}    db{j} = ds{j}")
    dw = [[X[i] * ds[j] for j in range(2)] for i in range(2)]
    dx = [W[i][0] * ds[0] + W[i][1] * ds[1] for i in range(2)]
    for i in range(2):
        print(f"  dw{i}0 = x{i} ds0 = {dw[i][0]:+.6f}    dw{i}1 = x{i} ds1 = {dw[i][1]:+.6f}")
        print(f"  dx{i} = w{i}0 ds0 + w{i}1 ds1 = {dx[i]:+.6f}")
    gradients = {
        "0.weight": [*dw[0], *dw[1]],
        "0.bias": ds,
        "1.weight": dv,
        "1.bias": [dz],
        "inputs": dx,
    }
    return loss, gradients


def by_fastnn():
    """Return the same from the network that trains at full speed."""
    net = fn.Network([fn.Dense(2, "sigmoid"), fn.Dense(1)], input_size=2, dtype="float64")
    for name, values in {"0.weight": W, "0.bias": B, "1.weight": [[v] for v in V]}.items():
        net.parameters[name][...] = values
    net.parameters["1.bias"][...] = C
    loss, gradients = net.loss_and_gradients([X], [T])
    named = {name: gradient.ravel().tolist() for name, gradient in gradients.items()}
    return loss, {**named, "inputs": net.input_gradients([X], [T]).ravel().tolist()}


def main():
    """Compare the two, number by number."""
    loss, expected = by_hand()
    found_loss, found = by_fastnn()
    print("compared")
    worst = abs(loss - found_loss)
    for name, values in expected.items():
        difference = max(abs(a - b) for a, b in zip(values, found[name], strict=True))
        worst = max(worst, difference)
        print(f"  {name:8} {len(values)} numbers, largest difference {difference:.1e}")
    if found.keys() != expected.keys() or worst > 1e-15:
        raise SystemExit("the two differ")
    print("equal, to rounding")


if __name__ == "__main__":
    main()
