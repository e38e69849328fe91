"""What the tests of model files share: the content of one, and where it is.

`conftest` loads this file as a plugin, so that its fixtures are there by name.
"""

import numpy as np
import pytest

from fastnn.formats import model_file

DESCRIPTION = {"layers": [{"type": "Dense", "units": 3, "use_bias": True}], "note": 'grün "☃"'}
TENSORS = {
    "0.weight": np.arange(12, dtype=np.float32).reshape(4, 3) / 7,
    "0.bias": np.array([1.5, -0.0, 5e-324]),
    "step": np.array(2**62 + 1),
    "mask": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "empty": np.empty((0, 5), np.float32),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.fnn"


@pytest.fixture
def old_file(path):
    model_file.write(path, {"version": "old"}, TENSORS)
    return path
