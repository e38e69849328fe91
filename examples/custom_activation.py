"""An activation and a loss of one's own, beside those that are there.

Squareplus is a smooth relu without exponentials (Barron 2021); a function of one number and its
derivative are all that fastnn needs of it. The loss log cosh is a square near 0 and a line far off,
so wild targets pull less at the network (Saleh & Saleh 2022).

Run it with ``python examples/custom_activation.py``. Functions are compiled by Numba; without it,
say ``backend="reference"``.
"""

import numpy as np

import fastnn as fn


@fn.activation(derivative=lambda z: (1.0 + z / np.sqrt(z * z + 4.0)) / 2.0)
def squareplus(z):
    """Return z where it is large, 0 where it is small, and a bend between."""
    return (z + np.sqrt(z * z + 4.0)) / 2.0


@fn.loss(derivative=lambda z, t: np.tanh(z - t))
def log_cosh(z, t):
    """Return log(cosh(z - t)), which never overflows in this form."""
    return abs(z - t) + np.log1p(np.exp(-2.0 * abs(z - t))) - np.log(2.0)


def main():
    """Train on a sine with some wild targets, and compare."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3.0, 3.0, size=(1000, 1))
    y = np.sin(x)
    wild = np.where(rng.uniform(size=y.shape) < 0.05, y + rng.choice([-8.0, 8.0], y.shape), y)
    print(f"{'activation':<12}{'loss':<10}{'mean distance from the sine':>30}")
    for activation in ("relu", "tanh", "squareplus"):
        for loss in ("mse", "log_cosh"):
            net = fn.Network(
                [fn.Dense(32, activation), fn.Dense(32, activation), fn.Dense(1)],
                loss=loss,
                optimizer=fn.Adam(fn.schedules.Cosine(0.01, length=5000)),
            )
            net.fit(x, wild, epochs=160, progress=False)
            distance = np.abs(net.predict(x) - y).mean()
            print(f"{activation:<12}{loss:<10}{distance:>30.3f}")


if __name__ == "__main__":
    main()
