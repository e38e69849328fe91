"""From a CSV file with numbers, text and gaps to predictions for rows that are not in it.

Run it with ``python examples/table.py``; it needs ``pip install "fastnn-core[table]"``.
"""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import fastnn as fn
from fastnn.data import TableEncoder, load_table

PER_SQUARE_METRE = {"Lyon": 5.0, "Metz": 2.5, "Nice": 5.5}


def write_flats(path, count=1000):
    """Write a table of invented flats; one area in twenty is missing."""
    random = np.random.default_rng(0)
    city = random.choice(list(PER_SQUARE_METRE), count)
    area = random.uniform(20, 120, count)
    age = random.integers(0, 100, count)
    base = np.array([PER_SQUARE_METRE[name] for name in city])
    price = base * area * (1 - 0.004 * age) + random.normal(0, 10, count)
    known = [None if random.random() < 0.05 else round(a, 1) for a in area]
    pl.DataFrame({"area": known, "city": city, "age": age, "price": price.round(1)}).write_csv(path)


def main():
    """Make the table, learn the price from the other columns, save, load, and predict."""
    with tempfile.TemporaryDirectory() as folder:
        table, model = Path(folder, "flats.csv"), Path(folder, "flats.fnn")
        write_flats(table)
        dataset, encoder = load_table(table, target="price")
        print("inputs:", ", ".join(encoder.feature_names))

        net = fn.Network(
            [fn.Dense(64, "relu"), fn.Dense(32, "relu"), fn.Dense(1)],
            optimizer=fn.Adam(fn.schedules.Cosine(0.005, length=40)),
        )
        net.fit(dataset.X_train, dataset.y_train, epochs=40, progress=False)
        print(f"test r2 {net.evaluate(dataset.X_test, dataset.y_test)['r2']:.4f}")

        # What turns rows into inputs belongs to the network: it is saved in the same file.
        net.metadata = {"data": "table", "encoder": encoder.to_json()}
        net.save(model)
        net = fn.Network.load(model)
    encoder = TableEncoder.from_json(net.metadata["encoder"])
    flats = pl.DataFrame({"area": [45.0, 45.0, None], "city": ["Lyon", "Metz", "Nice"], "age": 10})
    prices = encoder.decode(net.predict(encoder.encode(flats)))
    print(flats.with_columns(price=prices.round(0)))


if __name__ == "__main__":
    main()
