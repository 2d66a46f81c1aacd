"""Plain scalars, merges and keys as sigs.k8s.io/yaml reads them: the real library is asked about every one."""

import json
import subprocess
from pathlib import Path

from tests.support.oracle import built
from webhook.check.manifest.decode import plain
from webhook.check.manifest.parser import MalformedYaml, documents

SOURCE = Path(__file__).parent / "yaml"

WORDS = [
    "y",
    "Y",
    "yes",
    "Yes",
    "YES",
    "yEs",
    "n",
    "N",
    "no",
    "No",
    "NO",
    "on",
    "On",
    "ON",
    "off",
    "Off",
    "OFF",
    "true",
    "True",
    "TRUE",
    "tRUE",
    "false",
    "~",
    "null",
    "Null",
    "NULL",
    "nULL",
    "Nope",
    ".5",
    "-.5",
    "+.5",
    ".5e3",
    "5.",
    "5.5",
    "1e3",
    "1E3",
    "1e+3",
    "1e-3",
    "1.5e3",
    "1e400",
    "-1e3",
    "+1",
    "-1",
    "1",
    "0",
    "00",
    "07",
    "08",
    "0o17",
    "0O17",
    "-017",
    "0x1F",
    "0X1f",
    "-0x1f",
    "0x",
    "0b11",
    "0B11",
    "-0b11",
    "0b12",
    "1_000",
    "1__0",
    "_1",
    "1_",
    ".5_0",
    "._5",
    "5_.5",
    "0_7",
    "0x_f",
    "12:30",
    "1:30:00",
    "2024-01-02",
    "2024-01-02T03:04:05Z",
    "2024-1-2",
    "1.2.3",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "+9223372036854775807",
    "+9223372036854775808",
    "1e20",
    "1e21",
    "1e22",
    "123456789012345678901234567890",
    ".nan",
    ".inf",
    "-.inf",
    "+.inf",
    ".NaN",
    ".iNf",
    "-.nan",
    "-",
    "+",
    ".",
    "..",
    "--",
    "+-",
    "1a",
    "1-2",
    "0x1g",
    "a",
    "<<",
    "=",
    "1000:1000",
    "0644",
    "10m",
    "1Gi",
    "1.0",
    "1.10",
]
TEXTS = [
    *(f"a: {word}\n" for word in (*WORDS, "", "' '")),
    *(
        f"{word}: a\n"
        for word in ("1", "true", "y", "0x1F", "null", "1.5", "'1'", "<<", "[a]", "1_0", "~", "2024-01-02")
    ),
    *(
        f"a: !!{tag} {word}\n"
        for tag in ("str", "int", "float", "bool", "null")
        for word in ("1", "1.5", "yes", "~", "x")
    ),
    "a: ! 12\n",
    "a: !x 1\n",
    "a: &x {b: 1}\n<<: *x\nb: 2\n",
    "a: {b: 1}\n<<: [{b: 1}, {b: 2, c: 3}]\n",
    "x: {b: 1, <<: {b: 1}}\n",
    "x: {b: 1, <<: {b: 2}}\n",
    "x: {<<: {b: 2}, b: 1}\n",
    "x: {'<<': {b: 2}, b: 1}\n",
    "a: 1\na: 2\n",
    "? a\n",
    "a:\n- b\n-  c: d\n",
]
STRICTER = {  # what one reader takes and another refuses or takes differently: we refuse it
    "a: 1\na: 2\n": "twice",
    "x: {b: 1, <<: {b: 2}}\n": "write << first",
    "a: !x 1\n": "tag",
    "a: ! 12\n": "tag",
    "1.5: a\n": "neither a word",
}


def test_every_text_is_read_as_kubernetes_reads_it() -> None:
    """The same JSON, or refused by both; where we are stricter, it is said above why."""
    questions = "".join(f"{json.dumps(text)}\n" for text in TEXTS)
    result = subprocess.run([built(SOURCE)], input=questions, capture_output=True, check=True, text=True).stdout
    answers = [json.loads(line) for line in result.splitlines()]
    assert len(answers) == len(TEXTS)
    wrong = {}
    for text, theirs in zip(TEXTS, answers, strict=True):
        try:
            ours, refusal = plain(next(documents(text))), ""
        except MalformedYaml as error:
            ours, refusal = None, str(error)
        if text in STRICTER:
            assert STRICTER[text] in refusal
        elif bool(refusal) != bool(theirs["error"]) or (not refusal and json.loads(json.dumps(ours)) != theirs["json"]):
            wrong[text] = (ours, refusal, theirs)
    assert not wrong
