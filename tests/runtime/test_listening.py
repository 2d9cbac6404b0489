"""A Unix socket's path: whose it is, who may use it, and what is left there."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.runtime.endpoints import SOCKET_PATH_BYTES_MAX, UnixEndpoint
from contracts.runtime.listening import ListenError, listening

_LISTEN_AND_WAIT = """
import sys
from contracts.runtime.endpoints import UnixEndpoint
from contracts.runtime.listening import listening
with listening(UnixEndpoint(sys.argv[1])):
    print("listening", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "s"
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        pytest.skip("the temporary directory's name is too long for a socket")
    return path


@pytest.fixture
def other(path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that listens at the path."""
    command = [sys.executable, "-c", _LISTEN_AND_WAIT, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield process
        process.kill()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.mark.parametrize("umask", [0, 0o077])
def test_owner_and_group_may_connect_while_it_is_listened_on(path: Path, umask: int) -> None:
    previous = os.umask(umask)
    try:
        with listening(UnixEndpoint(str(path))):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert _answers(path)
        assert os.umask(umask) == umask
    finally:
        os.umask(previous)
    assert not path.exists()


def test_what_a_killed_process_leaves_is_replaced(
    path: Path, other: "subprocess.Popen[bytes]"
) -> None:
    other.kill()
    other.wait()
    assert path.is_socket()
    with listening(UnixEndpoint(str(path))):
        assert _answers(path)
    assert not path.exists()


@pytest.mark.usefixtures("other")
def test_what_another_process_listens_on_is_left_to_it(path: Path) -> None:
    with (
        pytest.raises(ListenError, match=f"unix:{path}: another process listens there"),
        listening(UnixEndpoint(str(path))),
    ):
        pytest.fail("it listens")
    assert _answers(path)


@pytest.mark.parametrize("backlog", [16, 0], ids=["idle", "full"])
def test_a_process_that_knows_of_no_lock_is_left_its_socket_too(path: Path, backlog: int) -> None:
    with socket.socket(socket.AF_UNIX) as foreign, socket.socket(socket.AF_UNIX) as waiting:
        foreign.bind(str(path))
        foreign.listen(backlog)
        waiting.connect(str(path))
        with (
            pytest.raises(ListenError, match="another process listens there"),
            listening(UnixEndpoint(str(path))),
        ):
            pytest.fail("it listens")
        assert path.is_socket()


def test_a_process_that_has_bound_and_does_not_listen_yet_is_left_its_socket(
    path: Path, other: "subprocess.Popen[bytes]"
) -> None:
    # As it is between the two calls, which no signal from here can hit: refused, though it lives.
    path.unlink()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        with (
            pytest.raises(ListenError, match="another process listens there"),
            listening(UnixEndpoint(str(path))),
        ):
            pytest.fail("it listens")
        assert path.is_socket()


def test_a_file_is_never_replaced(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ListenError, match="not a socket"), listening(UnixEndpoint(str(path))):
        pytest.fail("it listens")
    assert path.read_text() == "precious"


def test_a_link_is_not_followed(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(ListenError, match="not a socket"), listening(UnixEndpoint(str(path))):
        pytest.fail("it listens")
    assert path.is_symlink()


def test_a_directory_that_is_not_there_is_named(path: Path) -> None:
    with (
        pytest.raises(ListenError, match=f"{path}/s.lock: No such file or directory"),
        listening(UnixEndpoint(f"{path}/s")),
    ):
        pytest.fail("it listens")
