"""Files whose header is none: its length, its text, its keys."""

from hostile.crafted import DATA, Case, one_tensor, raw_file, sealed, substituted


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
