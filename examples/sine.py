"""One hidden layer draws a sine: the universal approximation theorem at work.

A network without hidden layers can only draw a straight line. With a hidden layer of tanh units it
comes as close to a continuous function on an interval as you like, if there are enough units
(Cybenko 1989; Hornik, Stinchcombe & White 1989).

Run it with ``python examples/sine.py``. Where matplotlib is installed, it also writes sine.png.
"""

import numpy as np

import fastnn as fn

UNITS = (0, 1, 3, 30)


def approximate(units, x, y):
    """Train a network with some hidden units, and return what it predicts."""
    hidden = [fn.Dense(units, "tanh")] if units else []
    net = fn.Network(
        [*hidden, fn.Dense(1)], optimizer=fn.Adam(fn.schedules.Cosine(0.03, length=3000))
    )
    net.fit(x, y, epochs=3000, batch_size=16, progress=False)
    return net.predict(x)[:, 0]


def plot_as_text(x, curves, height=15, width=61):
    """Return curves as text, each with the first letter of its name."""
    canvas = [[" "] * width for _ in range(height)]
    for name, y in curves.items():
        columns = np.round((x - x.min()) / np.ptp(x) * (width - 1)).astype(int)
        rows = np.round((1.2 - y) / 2.4 * (height - 1)).astype(int)
        for row, column in zip(rows.clip(0, height - 1), columns, strict=True):
            canvas[row][column] = name[0]
    return "\n".join("".join(line).rstrip() for line in canvas)


def plot_as_picture(x, curves, path):
    """Write the curves to a picture, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure()
    axes = figure.subplots()
    for name, y in curves.items():
        axes.plot(x, y, label=name)
    axes.legend()
    figure.savefig(path)
    print(f"written: {path}")


def main():
    """Approximate a sine with more and more units."""
    x = np.linspace(-np.pi, np.pi, 61)
    y = np.sin(x)
    inputs = (x / np.pi)[:, None]
    curves = {"sine": y}
    print("hidden units   largest error")
    for units in UNITS:
        curves[f"{units} units"] = approximate(units, inputs, y)
        print(f"{units:12}   {np.abs(curves[f'{units} units'] - y).max():.4f}")
    shown = {name: curves[name] for name in ("0 units", "1 units", "sine")}
    print("\ns the sine; 0 no hidden unit; 1 one hidden unit:\n")
    print(plot_as_text(x, shown))
    plot_as_picture(x, curves, "sine.png")


if __name__ == "__main__":
    main()
