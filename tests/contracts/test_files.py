import pytest

from contracts.files import NAME_BYTES_MAX, is_object_key, object_key, safe_name
from contracts.ids import new_id


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("cv.pdf", "cv.pdf"),
        ("../../x", "x"),
        ("../..", "file"),
        ("C:\\x", "x"),
        ("C:\\dir\\", "dir"),
        ("\\\\host\\share\\a b.txt", "a b.txt"),
        ("/etc/passwd", "passwd"),
        ("CON", "CON"),
        ("%00", "%00"),
        ("%2e%2e%2fx", "%2e%2e%2fx"),
        ("a\0b\r\nc\x7f\x85.txt", "abc.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("\u2066a\u2069\u200e", "a"),
        ("line\u2028break", "linebreak"),
        ("lone\ud800", "lone"),
        (".htaccess", "htaccess"),
        (" . ..bashrc ", "bashrc"),
        ("..", "file"),
        ("...", "file"),
        ("", "file"),
        (" \t", "file"),
        ("a..b.", "a..b."),
        ("é你👩‍💻.png", "é你👩‍💻.png"),
    ],
)
def test_a_name_is_made_safe(filename: str, name: str) -> None:
    assert safe_name(filename) == name


@pytest.mark.parametrize(
    ("filename", "end"),
    [
        ("x" * 4096, "x"),
        ("x" * 4096 + ".pdf", "x.pdf"),
        ("é" * 4096 + ".pdf", "é.pdf"),
        ("." + "x" * 4096, "x"),
        ("x." + "y" * 4096, "y"),
        ("你" * 4096, "你"),
    ],
)
def test_a_long_name_is_cut_between_characters_and_keeps_its_extension(
    filename: str, end: str
) -> None:
    name = safe_name(filename)
    assert NAME_BYTES_MAX - 4 < len(name.encode()) <= NAME_BYTES_MAX
    assert name.endswith(end)


def test_an_object_key_names_form_month_submission_and_place() -> None:
    assert (
        object_key("frm_1", "sub_1", 1_767_225_599_999, 3, "../a.txt")
        == "frm_1/2025/12/sub_1/3-a.txt"
    )


def test_an_object_key_is_known_by_its_shape() -> None:
    key = object_key(new_id("frm", 1), new_id("sub", 1), 1, 99, "a b.txt")
    assert is_object_key(key)
    for other in ("", "backup.tar", f"{key}/x", f"/{key}", f"x/{key}", key.replace("sub_", "")):
        assert not is_object_key(other)
