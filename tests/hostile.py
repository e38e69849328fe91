"""Model files that must be refused, each for one reason, and odd ones that must be taken.

Everything here is built by hand from the description of the format, so that it judges the writer
and the reader of fastnn instead of using them. `sealed` gives a file its right checksum: what is
refused is then refused for what is wrong with it, not for the checksum.
"""

import hashlib
import io
import json
import pickle
import struct
import zipfile
from typing import NamedTuple

import numpy as np

ITEMSIZE = {"F32": 4, "F64": 8, "I64": 8, "U8": 1}
DESCRIPTION = '{"layers": []}'
DATA = np.arange(1, 7, dtype="<f4").tobytes()


class Case(NamedTuple):
    """A file, and a regular expression that the message must match."""

    name: str
    content: bytes
    because: str


def raw_file(header, data=b"", length=None):
    """Frame a header (bytes, str or plain data) and data, with a wrong length if one is given."""
    if not isinstance(header, (bytes, str)):
        header = json.dumps(header)
    if isinstance(header, str):
        header = header.encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


ENTRIES = {"0.weight": entry([2, 2], 0, 16), "0.bias": entry([2], 16, 24)}


def checksum(entries, data, description=DESCRIPTION):
    """Return the checksum as the docstring of fastnn.formats.model_file tells it."""
    digest = hashlib.sha256(description.encode())
    for name in sorted(entries):
        dtype, shape, (begin, end) = (entries[name][k] for k in ("dtype", "shape", "data_offsets"))
        digest.update(json.dumps([name, dtype, shape]).encode() + data[begin:end])
    return digest.hexdigest()


def metadata(entries=None, data=DATA, description=DESCRIPTION, **changes):
    """Return the metadata; a change to None drops the key."""
    try:
        digest = checksum(ENTRIES if entries is None else entries, data, description)
    except (TypeError, ValueError, KeyError, AttributeError):  # no checksum exists
        digest = "0" * 64
    whole = {"format": "fastnn", "version": "1", "description": description, "sha256": digest}
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def sealed(entries=None, data=DATA, description=DESCRIPTION, **changes):
    """Return a file with the right checksum, and one tensor entry or metadata key changed."""
    entries = ENTRIES if entries is None else entries
    return raw_file(
        {"__metadata__": metadata(entries, data, description, **changes), **entries}, data
    )


def one_tensor(data=b"", **fields):
    """Return a file whose only tensor has these fields; one that is None is left out."""
    fields = {**entry([], 0, len(data)), **fields}
    return sealed({"t": {key: value for key, value in fields.items() if value is not None}}, data)


def substituted(old, new, content=None):
    """Return a good file whose header text is changed once, its length put right."""
    content = sealed() if content is None else content
    length = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + length], content[8 + length :]
    assert header.count(old) == 1, (old, header)
    return raw_file(header.replace(old, new), data)


def length_field():
    good = sealed()
    size = len(good) - 8 - len(DATA)
    for name, content in [("empty", b""), ("1 byte", b"\x08"), ("7 bytes", good[:7])]:
        yield Case(name, content, f"only {len(content)} bytes")
    yield Case("header of 0 bytes", raw_file(b""), "begins with b''")
    yield Case("header of 0 bytes and data", raw_file(b"", DATA), "begins with b''")
    for name, length in [("2**64-1", 2**64 - 1), ("2**63", 2**63), ("2**64-8", 2**64 - 8)]:
        yield Case(f"header length {name}", raw_file(good[8:], length=length), "promise a header")
    for name, length in [("beyond the file", len(good) - 7), ("one MiB", 1 << 20)]:
        yield Case(f"header length {name}", raw_file(good[8:], length=length), "cut short")
    yield Case("header length one short", raw_file(good[8:], length=size - 1), "no valid JSON")
    yield Case("header length one long", raw_file(good[8:], length=size + 1), "does not end with")
    yield Case("header of 1 MiB and 1 byte", raw_file(b"{" + b" " * (1 << 20)), "promise a header")


def header_text():
    good = sealed()
    text = good[8 : -len(DATA)]
    for name, header, because in [
        ("leading space", b" " + text, r"begins with b' '"),
        ("byte order mark", b"\xef\xbb\xbf" + text, r"begins with b'\\xef'"),
        ("array", b"[" + text + b"]", r"begins with b'\['"),
        ("string", b'"{}"', "begins with"),
        ("number", b"3", "begins with"),
        ("null", b"null", "begins with"),
        ("true", b"true", "begins with"),
        ("bad UTF-8", text.replace(b"0.bias", b"0.bi\xff\xfe"), "no valid UTF-8"),
        ("surrogate in UTF-8", text.replace(b"0.bias", b"\xed\xa0\x80"), "no valid UTF-8"),
        ("overlong UTF-8", text.replace(b"0.bias", b"\xc0\xae"), "no valid UTF-8"),
        ("truncated", text[: len(text) // 2], "does not end with"),
        ("truncated to a brace", text[: text.index(b"}") + 1], "no valid JSON"),
        ("trailing garbage", text + b"garbage", "does not end with"),
        ("trailing NUL", text + b"\0", "does not end with"),
        ("trailing newline", text + b"\n", "does not end with"),
        ("trailing comma", text[:-1] + b",}", "no valid JSON"),
        ("two objects", text + b"{}", "no valid JSON"),
        ("comment", b"{/* hello */" + text[1:], "no valid JSON"),
        ("single quotes", text.replace(b'"', b"'"), "no valid JSON"),
        ("control character", text.replace(b"0.bias", b"0.\x01bias"), "no valid JSON"),
        ("unknown escape", text.replace(b"0.bias", rb"0.\xbias"), "no valid JSON"),
        ("empty object", b"{}", "fastnn did not write it"),
        ("only spaces", b"{" + b" " * 1000 + b"}", "fastnn did not write it"),
    ]:
        yield Case(f"header: {name}", raw_file(header, DATA), because)
    deep = b"[" * 100_000 + b"]" * 100_000
    objects = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    for name, header in [
        ("in the metadata", b'{"__metadata__":' + deep + b"}"),
        ("in an unknown field", b'{"t":{"x":' + deep + b"}}"),
        ("as objects", objects),
        ("as 65 levels", b'{"t":' + b"[" * 64 + b"]" * 64 + b"}"),
    ]:
        yield Case(f"nesting {name}", raw_file(header), "levels deep")
    most = (1 << 20) - 8
    for name, header, because in [
        ("lists", b'{"t":[' + b"[]," * (most // 3), "does not end with"),
        ("closed lists", b'{"t":[' + b"[]," * (most // 3 - 4) + b"0]}", "more than 70000"),
        ("objects", b'{"t":[' + b"{}," * (most // 3 - 4) + b"0]}", "more than 70000"),
        ("numbers", b'{"t":[' + b"1," * (most // 2 - 8) + b"0]}", "more than 70000"),
        ("texts", b'{"t":[' + b'"",' * (most // 3 - 4) + b"0]}", "more than 70000"),
        (
            "lists behind a quote",
            b'{"\\"":[' + b"[]," * (most // 3 - 4) + b"0]}",
            "more than 70000",
        ),
        (
            "lists behind a backslash",
            b'{"\\\\":[' + b"[]," * (most // 3 - 4) + b"0]}",
            "more than 70000",
        ),
        ("backslashes", b'{"' + b"\\\\" * (most // 2 - 4) + b'":0}', "fastnn did not write it"),
        ("one key", b'{"' + b"k" * (most - 8) + b'":0}', "fastnn did not write it"),
        ("digits", b'{"t":' + b"9" * (most - 8) + b"}", "digits"),
        ("digits after the point", b'{"t":0.' + b"9" * (most - 9) + b"}", "fastnn did not"),
    ]:
        yield Case(f"a flood of {name}", raw_file(header), because)


def keys():
    bias = b'"0.bias": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]}'
    for name, old, new, because in [
        ("tensor, the same", bias, bias + b", " + bias, "'0.bias' occurs twice"),
        ("tensor, another", bias, b'"0.bias": {}, ' + bias, "'0.bias' occurs twice"),
        ("dtype", b'"F32", "shape": [2]', b'"F32", "dtype": "F32", "shape": [2]', "'dtype' occurs"),
        ("shape", b'"shape": [2]', b'"shape": [2], "shape": [2]', "'shape' occurs"),
        ("offsets", b"[16, 24]", b'[16, 24], "data_offsets": [16, 24]', "'data_offsets' occurs"),
        ("metadata", b'"__metadata__"', b'"__metadata__": {}, "__metadata__"', "occurs twice"),
        ("metadata key", b'"version"', b'"version": "1", "version"', "'version' occurs twice"),
        ("escaped key", b'"version"', b'"\\u0076ersion": "1", "version"', "'version' occurs twice"),
        ("escaped tensor", bias, rb'"0\u002ebias": {}, ' + bias, "'0.bias' occurs twice"),
    ]:
        yield Case(f"duplicate: {name}", substituted(old, new), because)
    fields = "not exactly the fields"
    yield Case("unknown field", one_tensor(b"1234", stride=1), fields)
    for field in ["dtype", "shape", "data_offsets"]:
        yield Case(f"no field {field}", one_tensor(b"1234", **{field: None}), fields)
    for name, value in [("list", []), ("null", None), ("text", "x"), ("number", 1), ("empty", {})]:
        yield Case(f"entry is {name}", sealed({"t": value}, b""), fields)


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


def metadata_cases():
    strange = "fastnn did not write it"
    yield Case("no metadata", raw_file(ENTRIES, DATA), strange)
    for value in [3, [], "text", True, {}, {"format": "pt"}]:
        file = raw_file({"__metadata__": value, **ENTRIES}, DATA)
        yield Case(f"metadata is {value!r}", file, strange)
    null = substituted(b'"fastnn"', b"null")
    yield Case("format null", null, strange)
    for value in ["torch", "FASTNN", "fastnn ", "", "fаstnn"]:  # the last has a Cyrillic letter
        yield Case(f"format {value!r}", sealed(format=value), strange)
    for value in [3, [], ["fastnn"], {"fastnn": 1}]:
        yield Case(f"format {value!r}", sealed(format=value), strange)
    yield Case("no format", sealed(format=None), strange)
    for value in ["2", "10", "99999999999999999999999999"]:
        because = f"made by a newer fastnn: format version {value[:20]}, this one reads 1"
        yield Case(f"version {value}", sealed(version=value), because)
    future = sealed({"t": entry([1], 0, 2, "BF16")}, b"12", version="2", signature="x")
    yield Case("version 2 with things unknown", future, "made by a newer fastnn")
    for value in ["0", "-1", "1.0", "", "01", "1 ", "one", "²", "1" * 400_000 + "x"]:
        yield Case(f"version {value[:9]!r}", sealed(version=value), "its format version is")
    for value in [1, 2, 1.0, True, ["1"], {"1": "1"}]:
        yield Case(f"version as JSON {value!r}", sealed(version=value), "its format version is")
    yield Case("no version", sealed(version=None), "its format version is None")
    for key in ["description", "sha256"]:
        yield Case(f"no {key}", sealed(**{key: None}), "not exactly the keys")
        for value in [3, [], {"a": {}}, False]:
            yield Case(f"{key} {value!r}", sealed(**{key: value}), f"'{key}' is no text")
    yield Case("unknown key", sealed(note="hello"), "not exactly the keys")
    damaged = "it is damaged"
    good = metadata()["sha256"]
    for name, value in [
        ("of something else", "0" * 64),
        ("in capitals", good.upper()),
        ("cut", good[:-1]),
        ("empty", ""),
        ("with a space", good + " "),
    ]:
        yield Case(f"checksum {name}", sealed(sha256=value), damaged)
    swapped = {"0.weight": entry([2], 16, 24), "0.bias": entry([2, 2], 0, 16)}
    changed = sealed(swapped, sha256=good)
    yield Case("names swapped under the checksum", changed, damaged)
    yield Case("shape changed under the checksum", one_tensor_like([4]), damaged)
    retyped = {"t": entry([3], 0, 24, "F64")}
    file = sealed(retyped, sha256=checksum({"t": entry([3], 0, 24, "I64")}, DATA))
    yield Case("dtype changed under the checksum", file, damaged)
    other = sealed(description='{"layers": [1]}', sha256=good)
    yield Case("description changed under the checksum", other, damaged)
    moved = sealed({"0.weight": entry([2, 2], 8, 24), "0.bias": entry([2], 0, 8)}, sha256=good)
    yield Case("tensors exchanged under the checksum", moved, damaged)


def one_tensor_like(shape):
    return sealed({"t": entry(shape, 0, 16)}, DATA[:16],
                  sha256=checksum({"t": entry([2, 2], 0, 16)}, DATA))  # fmt: skip


def descriptions():
    no_json = "its description is no valid JSON"
    for text, because in [
        ("", no_json),
        ("hello", no_json),
        ("{", no_json),
        ("{} {}", no_json),
        ("{'a': 1}", no_json),
        ("__import__('os')", no_json),
        ("\ufeff{}", no_json),
        ("{}\0", no_json),
        ("[]", "is no JSON object"),
        ("null", "is no JSON object"),
        ("3", "is no JSON object"),
        ('"text"', "is no JSON object"),
        ('{"a": NaN}', "no finite number"),
        ('{"a": -Infinity}', "no finite number"),
        ('{"a": 1e999}', "no finite number"),
        ('{"a": -1e400}', "no finite number"),
        ('{"a": 1, "a": 1}', "'a' occurs twice"),
        ('{"a": [{"b": 1, "\\u0062": 2}]}', "'b' occurs twice"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": ["\\udfff\\ud83d"]}', "surrogate"),
        ('{"\\udead": 1}', "surrogate"),
        ('{"a": ' + "9" * 65 + "}", "65 digits"),
        ('{"a": ' + "9" * 100_000 + "}", "100000 digits"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "64 levels deep"),
        ('{"a": ' + "[" * 64 + "]" * 64 + "}", "64 levels deep"),
        ('{"a": ' * 65 + "1" + "}" * 65, "64 levels deep"),
        ('{"a": [' + "[]," * 100_000 + "1]}", "more than 70000"),
        ("{" + "".join(f'"{n:x}":"{n:x}",' for n in range(22_000)) + '"0":0}', "'0' occurs twice"),
        ('{"a": "' + "x" * (1 << 19) + '"}', "characters, more than"),
    ]:
        yield Case(
            f"description {text[:20]!r} of length {len(text)}", sealed(description=text), because
        )


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


def other_formats():
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


def cases():
    """Return all files that must be refused."""
    return [
        *length_field(), *header_text(), *keys(), *dtypes(), *shapes(), *offsets(), *data(),
        *values(), *metadata_cases(), *descriptions(), *names(), *other_formats(),
    ]  # fmt: skip


def controls():
    """Return odd files that must be taken, by name."""
    good = sealed()
    text = good[8 : -len(DATA)]
    unordered = {"b": entry([2], 16, 24), "a": entry([2, 2], 0, 16)}
    empties = {
        "z": entry([0], 0, 0),
        "a": entry([2], 0, 8),
        "m": entry([0, 2**31 - 1], 8, 8, "F64"),
        "b": entry([1, 4], 8, 24),
        "e": entry([3, 0], 24, 24, "U8"),
    }
    types = {
        "f8": entry([1], 0, 8, "F64"),
        "i8": entry([], 8, 16, "I64"),
        "f4": entry([1, 1], 16, 20),
        "u1": entry([2, 2], 20, 24, "U8"),
    }
    extremes = np.array([np.finfo("f4").max, np.finfo("f4").tiny, 1e-45, -0.0], "<f4").tobytes()
    nested = '{"a": ' + "[" * 63 + "]" * 63 + "}"
    rich = '{"text": "gr\\u00fc\\ud83d\\ude00 \\"[{,", "pi": 3.14, "big": ' + "9" * 64 + "}"
    return {
        "a plain file": good,
        "a header padded with spaces": raw_file(text + b" " * 999, DATA),
        "a header with white space inside": raw_file(
            json.dumps({"__metadata__": metadata(), **ENTRIES}, indent=4).replace("\n", "\r\n\t"),
            DATA,
        ),
        "metadata behind the tensors": raw_file({**ENTRIES, "__metadata__": metadata()}, DATA),
        "an escaped name": substituted(b'"0.bias"', rb'"0\u002ebias"'),
        "tensors in another order than their bytes": sealed(unordered),
        "no tensors": sealed({}, b""),
        "empty tensors between others": sealed(empties),
        "every dtype and rank": sealed(types),
        "largest, smallest and negative zero": sealed({"t": entry([4], 0, 16)}, extremes),
        "names beyond ASCII": sealed({"größe.重み": entry([6], 0, 24)}),
        "a name of 255 characters": sealed({"x" * 255: entry([6], 0, 24)}),
        "4096 tensors": sealed({f"t{n}": entry([0], 0, 0) for n in range(4096)}, b""),
        "an empty description": sealed(description="{}"),
        "a nested description": sealed(description=nested),
        "a rich description": sealed(description=rich),
        "a long description": sealed(description='{"a": "' + "x" * 500_000 + '"}'),
        "many values": sealed(description='{"a": [' + "1," * 69_000 + "1]}"),
    }
