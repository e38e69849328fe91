"""Files whose metadata are not those of a model: format, version, checksum, description."""

from hostile.crafted import (
    DATA,
    ENTRIES,
    Case,
    checksum,
    entry,
    metadata,
    raw_file,
    sealed,
    substituted,
)


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
