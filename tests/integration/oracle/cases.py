"""Generated questions: a seed gives the same ones everywhere."""

import json
from random import Random
from typing import Any

HEX = "0123456789abcdef"
NAMES = ["app", "root", "first", "1000", "4294967296", "2147483648", "#app", "+", "a b", "é", "App", "solo", "-1"]
NUMBERS = [
    *("", "0", "00", "1", "7", "1000", "01000", "+7", "-1", "-0", "65534", "2147483647", "2147483648", "4294967295"),
    *("4294967296", "4294968296", "9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *("18446744073709551615", "18446744073709551616", "18446744073709551616x", "1844674407370955161x"),
    *(
        "99999999999999999999",
        "-99999999999999999999",
        "x",
        "1x",
        " 7",
        "7 ",
        "0x10",
        "1_0",
        "1e3",
        "1.0",
        "٣",
        "²",
        "１",
    ),
]
SPACES = ["", "", "", "", " ", "\t", "\r", "\u00a0", "\u2003", "\x1f", "\x0b", "\x85", "\u200b", "\ufeff"]
PIECES = [
    "a",
    "B",
    "9",
    "x" * 5,
    ".",
    "..",
    "_",
    "__",
    "___",
    "-",
    "--",
    "/",
    "//",
    ":",
    "@",
    "localhost",
    "é",
    " ",
    "\n",
]


def references(random: Random, count: int) -> list[str]:
    """Texts that are, nearly are and are not image references."""
    return [_reference(random) for _ in range(count)]


def _reference(random: Random) -> str:
    if random.random() < 0.3:
        return "".join(random.choices(PIECES, k=random.randint(0, 8)))
    host = random.choice(
        [
            *("", "", "docker.io/", "index.docker.io/", "localhost/", "localhost:5000/", "Host/", "a.b/", "[::1]/"),
            *(
                "[::1]:5000/",
                "-a.b/",
                "a_b.c/",
                "a..b/",
                "a.b:/",
                "a.b:x/",
                "1.2.3.4:80/",
                "docker.io:443/",
                "DOCKER.IO/",
            ),
        ]
    )
    path = "/".join(_word(random) for _ in range(random.randint(1, 4)))
    if random.random() < 0.02:
        path += "x" * random.randint(220, 260)
    tag = random.choice(
        ["", "", ":latest", ":1", ":", ":.x", f":{'t' * random.randint(126, 130)}", ":a:b", ":é", ":_x-"]
    )
    return host + path + tag + _digest(random)


def _word(random: Random) -> str:
    if random.random() < 0.05:
        return random.choice(["", "A", "a_", "_a", "a___b", "a--b", "a.b", "a._b", "library", "é", "a b"])
    return "".join(random.choices("abc019", k=random.randint(1, 6)))


def _digest(random: Random) -> str:
    if random.random() < 0.6:
        return "@" if random.random() < 0.02 else ""
    algorithm, length = random.choice([("sha256", 64), ("sha384", 96), ("sha512", 128), ("md5", 32), ("sha256", 63)])
    digits = "".join(random.choices(HEX, k=length + (random.random() < 0.05)))
    if random.random() < 0.1:
        digits = random.choice([digits.upper(), digits[:-1] + "g", ""])
    return f"@{random.choice([algorithm] * 9 + [algorithm.upper(), 'sha256+b64', ''])}:{digits}"


def users(random: Random, count: int) -> list[str]:
    """Forms of `config.User`."""
    return [_user(random) for _ in range(count)]


def _user(random: Random) -> str:
    left = random.choice([*NAMES, *NUMBERS, _word(random), str(random.randint(-(2**66), 2**66)), "x" * 300, "a\0b"])
    return left + random.choice(["", "", "", "", ":", ":0", ":grp", ":1:2", "::"])


def accounts(random: Random) -> tuple[bytes | None, bytes | None]:
    """A passwd and a group file: mostly sensible, with everything that is not mixed in."""
    end = random.choice(["\n", "\n", "\n", "\r\n"])
    passwd = end.join(_entry(random, 7) for _ in range(random.randint(0, 7))).encode()
    group = end.join(_entry(random, 4) for _ in range(random.randint(0, 7))).encode()
    if random.random() < 0.1:
        passwd += b"\n" + bytes(random.choices(range(256), k=random.randint(1, 40)))
        group += b"\n" + bytes(random.choices(range(256), k=random.randint(1, 40)))
    if random.random() < 0.03:
        passwd += b"\n" + b"x" * random.randint(65530, 65540) + random.choice([b"", b"\n", b"\nlast:x:5:5"])
    if random.random() < 0.03:
        group += b"\nlong:x:9:" + b"a," * 40_000 + b"app"
    return (None if random.random() < 0.05 else passwd), (None if random.random() < 0.1 else group)


def _entry(random: Random, width: int) -> str:
    if random.random() < 0.05:
        return random.choice(["", " ", "#", "# a comment", "+::::::", "a", ":", "::::::::", "\x00"])
    fields = [
        random.choice(NAMES),
        "x",
        random.choice(NUMBERS if random.random() < 0.4 else ["0", "7", "1000", "1010"]),
    ]
    if width == 4:
        fields.append(",".join(random.choices([*NAMES, "", " app"], k=random.randint(0, 4))))
    else:
        fields += [random.choice(NUMBERS if random.random() < 0.4 else ["0", "7", "1000"]), "gecos", "/home", "/bin/sh"]
    if random.random() < 0.2:
        fields = fields[: random.randint(1, width)]
    return random.choice(SPACES) + ":".join(fields) + random.choice(["", ":extra"][: 1 + (random.random() < 0.1)])


KEYS = [
    *(
        "User",
        "user",
        "USER",
        "U\u017fer",
        "Env",
        "env",
        "Entrypoint",
        "Cmd",
        "WorkingDir",
        "Wor\u212aingDir",
        "Volumes",
    ),
    *(
        "ExposedPorts",
        "os",
        "OS",
        "architecture",
        "variant",
        "config",
        "Config",
        "rootfs",
        "diff_ids",
        "type",
        "x",
        "Use",
    ),
    *("created", "history", "Labels", "os.features", "u\u0131er", "us\u00e9r", "\u017f"),
]
TEXTS = ["", "0", "1000", "app", "linux", "\U0001f600", "\u0000", "\u2028", "\u017f", "</script>"]


def configs(random: Random, count: int) -> list[bytes]:
    """Image configs: mostly of the right shape, in every way in which Go and Python read JSON differently."""
    return [_config(random) for _ in range(count)]


def _config(random: Random) -> bytes:
    settings = _object(
        random, [("User", _text), ("Env", _texts), ("Volumes", _set), ("WorkingDir", _text), ("Cmd", _texts)]
    )
    rootfs = _object(random, [("type", _text), ("diff_ids", _texts)])
    fields = [("os", _text), ("architecture", _text), ("config", lambda _: settings), ("rootfs", lambda _: rootfs)]
    raw = _object(random, fields).encode()
    roll = random.random()
    if roll < 0.02:
        raw = raw.replace(b'"', b"'", 1)
    elif roll < 0.04:
        raw = raw[: random.randint(0, len(raw))]
    elif roll < 0.06:
        raw += random.choice([b" ", b"\n\n", b"x", b"{}", b"\0", b"\xc2\xa0"])
    elif roll < 0.08:
        raw = random.choice([b"\xef\xbb\xbf", b" ", b"\xff", b"\x0b"]) + raw
    elif roll < 0.1:
        position = random.randint(0, len(raw))
        raw = raw[:position] + bytes([random.randint(0, 255)]) + raw[position + 1 :]
    return raw


def _object(random: Random, fields: list[tuple[str, Any]]) -> str:
    pairs = [(key, make(random)) for key, make in fields if random.random() < 0.8]
    while random.random() < 0.2:
        pairs.append((random.choice(KEYS), _anything(random)))
    random.shuffle(pairs)
    return "{" + ",".join(f"{_string(random, key)}:{value}" for key, value in pairs) + "}"


def _string(random: Random, text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=random.random() < 0.3)
    return (
        quoted[:-1] + random.choice([r"\ud800", r"\udc80x", r"\uD83D\uDE00", r"\/"]) + '"'
        if random.random() < 0.02
        else quoted
    )


def _text(random: Random) -> str:
    return _anything(random) if random.random() < 0.07 else _string(random, random.choice(TEXTS))


def _texts(random: Random) -> str:
    if random.random() < 0.1:
        return _anything(random)
    return "[" + ",".join(_text(random) for _ in range(random.randint(0, 3))) + "]"


def _set(random: Random) -> str:
    if random.random() < 0.1:
        return _anything(random)
    return _object(
        random, [("/data", lambda _: "{}"), ("80/tcp", lambda _: random.choice(["{}", "null", '{"a":1}', "5"]))]
    )


def _anything(random: Random) -> str:
    return random.choice(
        [
            *(
                "null",
                "null",
                "true",
                "0",
                "-1.5e3",
                "1e999",
                "01",
                "NaN",
                "Infinity",
                '""',
                '"0"',
                "[]",
                "[null]",
                "{}",
            ),
            *('["a",null]', '[["a"]]', '{"a":{"a":1,"A":2}}', '{"a":1,"a":2}', "9" * 30, '"\t"', '"\\x"', '"\\u00"'),
        ]
    )


def platforms(random: Random, count: int) -> list[dict[str, str]]:
    """Platforms as people write them."""
    return [
        {
            "os": random.choice(["linux", "Linux", "windows", "macos", "MacOS", "darwin", "", "freebsd"]),
            "architecture": random.choice(
                [
                    *("amd64", "x86_64", "X86-64", "i386", "386", "aarch64", "arm64", "ARM64", "arm", "armhf", "armel"),
                    *("", "riscv64", "ppc64le", "s390x", "mips64le", "arm64/v8"),
                ]
            ),
            "variant": random.choice(
                [
                    *("", "v1", "v2", "v3", "V3", "5", "6", "7", "8", "9", "v5", "v6", "v7", "v8", "V8", "v8.0", "8.0"),
                    *("9.0", "v9", "v9.0", "v8.1", "v4", "x", "1"),
                ]
            ),
        }
        for _ in range(count)
    ]
