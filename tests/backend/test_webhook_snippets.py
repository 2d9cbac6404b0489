"""The code that verifies a webhook, as the documentation and the console show it, in the languages
that this machine has."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from backend.console.webhooks.verifiers import verifiers
from backend.webhooks.signing import new_secret, signature_headers

PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()
CODE = {verifier.language: verifier.code for verifier in verifiers()}
BODY = 'a "quoted" ä 🦊\n\0'.encode()
# What is before the code and after it, in a program that judges requests: a JSON list of them comes
# in, each with its base64 body, and one of truth values goes out.
PHP = (
    "<?php\n",
    """
    $given = json_decode(stream_get_contents(STDIN), true);
    $judge = fn($each) =>
        is_genuine(base64_decode($each['body']), $each['signature'], $each['secret']);
    echo json_encode(array_map($judge, $given));
    """,
)
RUBY = (
    'require "json"\n',
    """
    judged = JSON.parse($stdin.read).map do |each|
      genuine?(each["body"].unpack1("m"), each["signature"], each["secret"])
    end
    puts judged.to_json
    """,
)
GO = (
    'package main\nimport ("encoding/base64"; "encoding/json"; "os")\n',
    """
    type request struct { Body, Signature, Secret string }

    func main() {
        var given []request
        if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil { panic(err) }
        judged := []bool{}
        for _, each := range given {
            body, err := base64.StdEncoding.DecodeString(each.Body)
            if err != nil { panic(err) }
            judged = append(judged, isGenuine(body, each.Signature, each.Secret))
        }
        json.NewEncoder(os.Stdout).Encode(judged)
    }
    """,
)


def test_the_documentation_and_the_console_show_the_same_code() -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    shown = {language: code for language, code in blocks if language != "http" and "sha256" in code}
    assert shown == {language.lower(): code for language, code in CODE.items()}
    assert len(shown) == 5


@pytest.mark.parametrize(
    ("language", "command", "name", "around"),
    [
        ("PHP", ["php"], "judge.php", PHP),
        ("Ruby", ["ruby"], "judge.rb", RUBY),
        ("Go", ["go", "run"], "judge.go", GO),
    ],
)
def test_the_code_tells_what_is_genuine(
    language: str, command: list[str], name: str, around: tuple[str, str], tmp_path: Path
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {language} on this machine")
    program = tmp_path / name
    program.write_text(CODE[language].join(around))
    secret = new_secret()
    signature = signature_headers(BODY, [secret], "whd_1", 1)["x-formflow-signature"]
    requests = [
        (BODY, signature, secret),
        (BODY + b" ", signature, secret),
        (BODY, signature, new_secret()),
        (BODY, signature[:-1], secret),
        (BODY, signature.upper(), secret),
        (BODY, "", secret),
    ]
    given = [
        {"body": base64.b64encode(body).decode(), "signature": signature, "secret": secret}
        for body, signature, secret in requests
    ]
    done = subprocess.run(
        [*command, program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, False, False, False, False, False]
