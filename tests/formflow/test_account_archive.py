"""Archives of accounts: whole, or refused before anything is changed."""

import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from formflow.account_archive import Files, check, is_archive, opened, submissions
from formflow.client import CommandError

HEADER = {"type": "header", "format": 1, "version": "1", "account": "Ada"}
ENVIRONMENT = {"type": "environment", "name": "production"}
FORM = {"type": "form", "id": "frm_1", "slug": "contact"}


def file(id: str, size: int = 4) -> dict[str, Any]:
    said = {"field": "cv", "name": "cv.pdf", "content_type": "a/b", "sha256": "0" * 64}
    return {"id": id, "size": size, **said}


def submission(*files: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "type": "submission",
        "id": "sub_1",
        "form_id": "frm_1",
        "status": "received",
        "read": False,
        "payload": {},
        "files": files,
        "meta": {},
        "received_at": "2026-05-28T20:26:41.000Z",
    } | members


def packed(members: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write(path: Path, lines: Sequence[Any], files: Sequence[str] = ()) -> Path:
    text = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    members = [("account.jsonl", text), *((f"files/{id}", id.encode()) for id in files)]
    path.write_bytes(packed(members))
    return path


LINES = [HEADER, ENVIRONMENT, FORM, submission(file("fil_1"), file("fil_2", 9), file("fil_3"))]


def test_contents_are_counted_and_what_is_missing_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a", LINES, ["fil_1", "fil_3"])
    contents = check(path)
    assert (contents.account, contents.environments) == ("Ada", ["production"])
    assert (contents.submissions, contents.files, contents.missing_files) == (1, 3, 1)
    assert contents.file_bytes_max == 9
    assert [line["id"] for line in submissions(path)] == ["sub_1"]


def test_files_are_taken_in_their_order_and_may_be_passed_over(tmp_path: Path) -> None:
    with opened(write(tmp_path / "a", LINES, ["fil_1", "fil_3"])) as archive:
        files = Files(archive)
        assert files.take("fil_1") is not None
        assert files.take("fil_2") is None
        third = files.take("fil_3")
        assert third is not None
        assert third.read() == b"fil_3"
        assert files.take("fil_4") is None


def test_an_archive_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "a", LINES, ["fil_1", "fil_2", "fil_3"]).read_bytes()
    for length in range(2, len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CommandError):
            check(tmp_path / "cut")


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "a", LINES, ["fil_1"]).read_bytes())
    whole[-6] ^= 1
    (tmp_path / "a").write_bytes(whole)
    with pytest.raises(CommandError, match="damaged"):
        check(tmp_path / "a")


@pytest.mark.parametrize(
    ("lines", "files", "complaint"),
    [
        ([], [], "nothing of an account"),
        ([HEADER | {"format": 3, "version": "9"}], [], "version '9' or later"),
        ([ENVIRONMENT], [], "line 1"),
        ([HEADER, HEADER], [], "line 2"),
        ([HEADER, FORM, ENVIRONMENT], [], "line 3"),
        ([HEADER, {"type": "webhook"}], [], "line 2"),
        ([HEADER, submission()], [], "no form frm_1"),
        ([HEADER, FORM, submission(received_at="yesterday")], [], "line 3"),
        ([HEADER, FORM, submission({"id": "fil_1"})], [], "line 3"),
        (LINES, ["fil_2", "fil_1"], "fil_1"),
        (LINES, ["fil_9"], "fil_9"),
    ],
)
def test_what_is_no_account_is_named(
    tmp_path: Path, lines: Sequence[Any], files: Sequence[str], complaint: str
) -> None:
    with pytest.raises(CommandError, match=complaint):
        check(write(tmp_path / "a", lines, files))


def test_no_name_in_an_archive_steers_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refused:
        check(write(tmp_path / "a", LINES, ["\x1b[2J"]))
    assert "\x1b" not in str(refused.value)


def test_a_backup_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(packed([("database", b"")]))
    with pytest.raises(CommandError, match="formflow restore"):
        check(tmp_path / "a")


def test_what_is_gzipped_is_taken_for_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(b""))
    (tmp_path / "b").write_bytes(b"[")
    assert (is_archive(tmp_path / "a"), is_archive(tmp_path / "b")) == (True, False)
