"""Exports of other services, and our own, read as submissions to import."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backend.imports.sources import Export, UnreadableExport

FORMSPREE = """\
_date,email,message,_status
2018-11-03T07:28:29.707632,ada@example.com,"Hello,
world",sent
2018-11-04T07:28:29,bob@example.com,,sent
"""
NETLIFY = """\
number,name,message,created_at,ip,user_agent,referrer,form_name
6,Ada,Hi,2020-10-13T14:02:06.088Z,192.0.2.7,Mozilla/5.0,https://example.com/,contact
"""
BASIN = """\
ID,Name,Created At,Spam,IP Address
77,Ada,2024-03-01 09:30:00 UTC,false,192.0.2.7
78,Bot,2024-03-01 09:31:00 -0500,true,192.0.2.8
"""
OURS = """\
id,received_at,status,email,=formula,other_fields
sub_01ksr49200j55xphh7nc1rxtk4,2026-05-28T20:26:41.000Z,spam,'=1+1,'quoted,"{""more"":""x""}"
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(path: Path, text: str, *more: Any) -> tuple[str, list[dict[str, Any]]]:
    written = write(path, text)
    export = Export(str(written), lambda: written.open("rb"), *(more or (None,)))
    return export.source.name, list(export.submissions())


def test_formspree(tmp_path: Path) -> None:
    name, [first, second] = read(tmp_path / "a.csv", FORMSPREE)
    assert name == "formspree"
    assert first["received_at"] == "2018-11-03T07:28:29.707Z"
    assert first["payload"] == {"email": "ada@example.com", "message": "Hello,\nworld"}
    assert second["payload"] == {"email": "bob@example.com"}
    assert (first["status"], first["meta"]) == ("received", {})


def test_netlify(tmp_path: Path) -> None:
    name, [only] = read(tmp_path / "a.csv", "\ufeff" + NETLIFY)
    assert name == "netlify"
    assert only["received_at"] == "2020-10-13T14:02:06.088Z"
    assert only["payload"] == {"name": "Ada", "message": "Hi"}
    assert only["meta"] == {
        "ip": "192.0.2.7",
        "user_agent": "Mozilla/5.0",
        "referrer": "https://example.com/",
    }


def test_basin(tmp_path: Path) -> None:
    name, [good, spam] = read(tmp_path / "a.csv", BASIN)
    assert name == "basin"
    assert (good["reference"], good["status"]) == ("77", "received")
    assert good["received_at"] == "2024-03-01T09:30:00.000Z"
    assert spam["status"] == "spam"
    assert spam["received_at"] == "2024-03-01T14:31:00.000Z"
    assert good["payload"] == {"Name": "Ada"}


def test_our_own_csv_without_what_guards_spreadsheets(tmp_path: Path) -> None:
    name, [only] = read(tmp_path / "a.csv", OURS)
    assert name == "formflow"
    assert only["reference"] == "sub_01ksr49200j55xphh7nc1rxtk4"
    assert only["status"] == "spam"
    assert only["payload"] == {"email": "=1+1", "=formula": "'quoted", "more": "x"}


@pytest.mark.parametrize("separator", [",\n", "\n"])
def test_our_own_json_keeps_everything(tmp_path: Path, separator: str) -> None:
    document = {
        "id": "sub_01ksr49200j55xphh7nc1rxtk4",
        "form_id": "frm_01ksr49200j55xphh7nc1rxtk4",
        "status": "held",
        "read": True,
        "payload": {"topic": ["a", "b"]},
        "files": [],
        "meta": {"ip": "192.0.2.1", "key_id": "key_1", "charset_guessed": True},
        "trace": {
            "checks": [{"check": "origin", "verdict": "any", "microseconds": 3}],
            "charged": 1,
        },
        "received_at": "2026-05-28T20:26:41.000Z",
    }
    lines = separator.join(json.dumps(document | {"id": f"sub_{n}"}) for n in range(3))
    text = f"[{lines}]" if separator == ",\n" else lines
    name, found = read(tmp_path / "a.json", text)
    assert name == "formflow"
    assert [item["reference"] for item in found] == ["sub_0", "sub_1", "sub_2"]
    assert found[0] == {
        "reference": "sub_0",
        "received_at": "2026-05-28T20:26:41.000Z",
        "status": "held",
        "read": True,
        "payload": {"topic": ["a", "b"]},
        "meta": {"ip": "192.0.2.1", "charset_guessed": True},
        "trace": [{"check": "origin", "verdict": "any", "microseconds": 3}],
    }


def test_references_are_the_same_for_the_same_file_and_tell_equal_rows_apart(
    tmp_path: Path,
) -> None:
    twice = "_date,a\n2024-01-01,x\n2024-01-01,x\n2024-01-02,x\n"
    _, first = read(tmp_path / "a.csv", twice)
    _, second = read(tmp_path / "b.csv", twice)
    references = [item["reference"] for item in first]
    assert len(set(references)) == 3
    assert references == [item["reference"] for item in second]


def test_dates_without_a_zone_are_of_the_zone_that_is_named(tmp_path: Path) -> None:
    text = "_date,a\n2024-07-01T12:00:00,x\n"
    _, [only] = read(tmp_path / "a.csv", text, None, ZoneInfo("Europe/Berlin"))
    assert only["received_at"] == "2024-07-01T10:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "source", "complaint"),
    [
        ("a,b\n1,2\n", None, "which service is it from"),
        ("a,b\n1,2\n", "formspree", "none of the columns _date"),
        ("_date,a\n01/02/2024,x\n", None, "line 2: '01/02/2024' is not a date"),
        ("_date,a\n", None, "holds no submissions"),
        ("_date,a\n2024-01-01,x,more\n", None, "line 2: more cells than columns"),
        ('[{"id":"sub_1"}]', None, "line 1: "),
        ("[{}]", "basin", "only FormFlow's own export is read as JSON"),
        ("[nonsense", None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, text: str, source: str | None, complaint: str
) -> None:
    with pytest.raises(UnreadableExport, match=complaint.replace("'", ".")):
        read(tmp_path / "a.csv", text, source)


def test_a_file_that_is_no_text_or_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"_date,a\n2024-01-01,\xff\n")
    for path in (tmp_path / "a.csv", tmp_path / "nowhere.csv"):
        with pytest.raises(UnreadableExport, match="cannot be read"):
            list(Export(str(path), lambda path=path: path.open("rb"), None).submissions())  # type: ignore[misc]
