"""Files of other programs, some of which would run code if they were loaded."""

import io
import pickle

import numpy as np

from hostile.crafted import Case


def files():
    archive = io.BytesIO()
    np.savez(archive, weight=np.ones(3))
    packed = io.BytesIO()
    np.savez_compressed(packed, weight=np.ones(3))
    array = io.BytesIO()
    np.save(array, np.ones(3))
    yield Case("npz", archive.getvalue(), "zip archive")
    yield Case("compressed npz", packed.getvalue(), "zip archive")
    yield Case("npy", array.getvalue(), r"NumPy array")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps(Boom(), protocol=protocol)
        because = "a pickle" if protocol > 1 else "promise a header"
        yield Case(f"pickle of protocol {protocol}", content, because)
    yield Case("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500), "an HDF5 file")
    for name, content in [
        ("text", b"hello, world! this is no model file\n"),
        ("JSON", b'{"layers": [], "weights": []}'),
        ("zeros", bytes(1000)),
        ("ONNX", b"\x08\x07\x12\x07pytorch" + bytes(100)),
        ("ELF", b"\x7fELF\x02\x01\x01" + bytes(100)),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00" + bytes(100)),
        ("PNG", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("GGUF", b"GGUF\x03\x00\x00\x00" + bytes(100)),
        ("Parquet", b"PAR1" + bytes(100) + b"PAR1"),
    ]:
        yield Case(name, content, "promise a header|begins with|cut short")


class Boom:
    """Were a pickle of this loaded, the test would end here."""

    def __reduce__(self):
        return exit, ("a pickle was loaded",)
