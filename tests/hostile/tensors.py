"""Files whose tensors are described wrongly, or do not lie where the header says."""

import io
import struct
import zipfile

import numpy as np

from hostile.crafted import DATA, ENTRIES, Case, entry, one_tensor, raw_file, sealed, substituted


def dtypes():
    for value in ["F128", "O", "f32", "<f4", "", "F16", "BF16", "BOOL", "C64", "U64", "F32 "]:
        yield Case(f"dtype {value!r}", one_tensor(b"1234", dtype=value), "has dtype")
    for value in [3, True, [], ["F32"], {}, {"F32": 1}]:
        yield Case(f"dtype {value!r}", one_tensor(b"1234", dtype=value), "has dtype")
    null = substituted(b'"F32"', b"null", one_tensor(b"1234"))
    yield Case("dtype null", null, "has dtype None")


def shapes():
    good = one_tensor(b"1234", shape=[1])
    for text, because in [
        ("[-1]", "has shape"),
        ("[-1,-1]", "has shape"),
        ("[-0]", "-0 is no whole number"),
        ("[1.0]", "has shape"),
        ("[1e0]", "has shape"),
        ('["1"]', "has shape"),
        ("[true]", "has shape"),
        ("[null]", "has shape"),
        ("[NaN]", "no finite number"),
        ("[Infinity]", "no finite number"),
        ("[-Infinity]", "no finite number"),
        ("[1e999]", "no finite number"),
        ("[[1]]", "has shape"),
        ("[{}]", "has shape"),
        ("{}", "has shape"),
        ('{"0":1}', "has shape"),
        ("1", "has shape"),
        ("null", "has shape"),
        ('"1"', "has shape"),
        ("[01]", "no valid JSON"),
        ("[+1]", "no valid JSON"),
        ("[0x1]", "no valid JSON"),
        ("[1,]", "no valid JSON"),
        ("[\u0661]", "no valid JSON"),
        ("[2]", "needs 8"),
        ("[0]", "needs 0"),
        ("[1,2]", "needs 8"),
        ("[1,1,1]", "has shape"),
        ("[18446744073709551616]", "has shape"),
        ("[18446744073709551617]", "has shape"),
        ("[4294967297]", "has shape"),
        ("[4611686018427387904]", "has shape"),
        ("[1000000000000000]", "has shape"),
        ("[2147483648]", "has shape"),
        ("[2147483647]", "needs 8589934588"),
        ("[2147483647,2147483647]", "needs 18446744056529682436"),
        ("[" + "9" * 65 + "]", "65 digits"),
        ("[" + "1," * 64 + "1]", "has shape"),
        ("[" + "1," * 99_999 + "1]", "more than 70000"),
    ]:
        new = b'"shape": ' + text.encode()
        yield Case(
            f"shape {text[:30]} of length {len(text)}",
            substituted(b'"shape": [1]', new, good),
            because,
        )
    empty = one_tensor(b"", shape=[0])
    for text in [
        "[4294967296,4294967296]",
        "[0,9223372036854775808,9223372036854775808]",
        "[9223372036854775808,9223372036854775808,0]",
        "[0,4611686018427387904]",
        "[0,2147483648]",
        "[0,-1]",
    ]:
        new = b'"shape": ' + text.encode()
        yield Case(
            f"shape {text} of 0 bytes", substituted(b'"shape": [0]', new, empty), "has shape"
        )


def offsets():
    for name, changed, because in [
        ("overlap", entry([3], 12, 24), "'0.bias' begins at byte 12, but 16"),
        ("identical", entry([2, 2], 0, 16), "begins at byte 0, but 16"),
        ("hole", entry([1], 20, 24), "begins at byte 20, but 16"),
        ("beyond the file", entry([4], 16, 32), "take 32 bytes, but 24"),
        ("far beyond the file", entry([1], 2**62, 2**62 + 4), "begins at byte 4611686018427387904"),
        ("reversed", entry([2], 24, 16), "data_offsets"),
        ("negative", entry([6], -8, 16), "data_offsets"),
        ("both negative", entry([2], -8, 0), "data_offsets"),
        ("wider than the shape", entry([1], 16, 24), "needs 4"),
        ("narrower than the shape", entry([2], 16, 20), "needs 8"),
        ("largest of 64 bits", entry([2], 2**64 - 8, 2**64 - 1), "data_offsets"),
        ("wrapping in 64 bits", entry([2], 16, 2**64 + 24), "data_offsets"),
        ("empty inside another", entry([0], 4, 4), "begins at byte"),
        ("empty behind the end", entry([0], 24, 24), "begins at byte 24, but 16"),
    ]:
        yield Case(f"offsets: {name}", sealed({**ENTRIES, "0.bias": changed}), because)
    yield Case("offsets: start at 4", sealed({"t": entry([5], 4, 24)}), "begins at byte 4, but 0")
    for text in ["[0.0,4]", "[0,4.0]", "[0,4,8]", "[4]", "[]", "null", "4", '"0,4"', "[[0],[4]]",
                 '["0","4"]', "[false,4]", "{}"]:  # fmt: skip
        new = b'"data_offsets": ' + text.encode()
        content = substituted(b'"data_offsets": [0, 4]', new, one_tensor(b"1234", shape=[1]))
        yield Case(f"offsets {text}", content, "data_offsets")
    yield Case(
        "misaligned",
        sealed({"a": entry([1], 0, 1, "U8"), "b": entry([1], 1, 5)}, DATA[:5]),
        "begins at byte 1, no multiple of 4",
    )


def data():
    good = sealed()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("data.pkl", "hello")
    yield Case("one byte behind the end", good + b"\0", "take 24 bytes, but 25")
    yield Case("a zip archive behind the end", good + archive.getvalue(), "take 24 bytes, but")
    yield Case("the last byte is missing", good[:-1], "take 24 bytes, but 23")
    yield Case("all data is missing", good[: -len(DATA)], "take 24 bytes, but 0")
    yield Case("data without tensors", sealed({}, DATA), "take 0 bytes, but 24")
    for cut in [9, 40, len(good) - len(DATA) - 1]:
        yield Case(f"cut after {cut} bytes", good[:cut], "cut short")


def values():
    for dtype, kind in [("F32", "<f4"), ("F64", "<f8")]:
        for value in [np.nan, np.inf, -np.inf]:
            content = np.array([1, value], kind).tobytes()
            because = "tensor '0.w' holds NaN or infinity"
            for place, rolled in [("last", content), ("first", content[len(content) // 2 :] * 2)]:
                file = sealed({"0.w": entry([2], 0, len(content), dtype)}, rolled)
                yield Case(f"{value} {place} in {dtype}", file, because)
    late = np.zeros(200_000, "<f4")
    late[-1] = np.nan
    yield Case("NaN at the end of many", one_tensor(late.tobytes(), shape=[200_000]), "holds NaN")
    signaling = struct.pack("<I", 0x7F800001)
    yield Case("signaling NaN", one_tensor(signaling, shape=[1]), "holds NaN")


def names():
    for name, key in [
        ("empty", ""),
        ("NUL", "0.\0bias"),
        ("newline", "0.bias\n"),
        ("terminal escape", "\x1b[2J"),
        ("right to left", "\u202e0.bias"),
        ("256 characters", "x" * 256),
    ]:
        yield Case(f"tensor name: {name}", sealed({key: entry([1], 0, 4)}, DATA[:4]), "tensor name")
    lone = substituted(b'"t"', rb'"\ud800"', one_tensor(b"1234"))
    yield Case("tensor name: lone surrogate", lone, "surrogate")
    many = {f"t{number}": entry([0], 0, 0) for number in range(4097)}
    yield Case("4097 tensors", sealed(many, b""), "4097 tensors, more than 4096")
    file = raw_file('{"' + '":0,"'.join(map(str, range(30_000))) + '":0}')
    yield Case("30000 keys", file, "fastnn did not write it")
    more = raw_file('{"' + '":0,"'.join(map(str, range(100_000))) + '":0}')
    yield Case("100000 keys", more, "more than 70000")
