"""Train on the handwritten digits, then look at what the network makes of one of them.

Run it with ``python examples/digits.py``; it takes a few seconds.
"""

import fastnn as fn
from fastnn.data import load_digits

SHADES = " .:-=+*#%@"  # paper to ink


def draw(pixels):
    """Return an 8x8 image as text, every pixel two characters wide."""
    rows = pixels.reshape(8, 8)
    return "\n".join("".join(2 * SHADES[round(float(p) * 9)] for p in row) for row in rows)


def main():
    """Train, measure, and show the test image about which the network is least sure."""
    digits = load_digits()
    net = fn.Network(
        [fn.Dense(128, "relu"), fn.Dropout(0.2), fn.Dense(10, "softmax")],
        optimizer=fn.Adam(fn.schedules.Cosine(0.005, length=30)),
    )
    history = net.fit(digits.X_train, digits.y_train, epochs=30, progress=False)
    print(net.summary())
    first, last = history["loss"][0], history["loss"][-1]
    print(f"\n{len(history['loss'])} epochs, loss {first:.3f} to {last:.3f}")

    result = net.evaluate(digits.X_test, digits.y_test)
    print(f"test accuracy {result['accuracy']:.4f}")

    probabilities = net.predict(digits.X_test)
    row = probabilities.max(axis=1).argmin()
    print(f"\ntest image {row}, a {digits.y_test[row]}, where the network is least sure:\n")
    print(draw(digits.X_test[row]))
    print()
    for digit in probabilities[row].argsort()[::-1][:3]:
        print(f"  {digit}: {probabilities[row, digit]:.3f}")


if __name__ == "__main__":
    main()
