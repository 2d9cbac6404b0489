"""Sockets to listen on: TCP, and Unix sockets at paths that survive a kill."""

import fcntl
import os
import platform
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from contracts.runtime.endpoints import Endpoint, TcpEndpoint
from contracts.runtime.settings import StartError

BACKLOG = 2048
# Owner and group may connect (rw-rw----): a gateway runs as the backend's user, or in its group.
_SOCKET_UMASK = 0o117
_LOCK_MODE = 0o600
_LOOPBACK = "127.0.0.1"


class ListenError(StartError):
    """The address cannot be listened on."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises ListenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listener


@contextmanager
def reserved_port(wanted: int) -> Iterator[int]:
    """``wanted``, or any port if that is taken on the loopback; nobody else's while the block runs,
    but for a process that listens there.

    The socket that holds it does not listen: who connects is refused while that process is down.
    Without it the kernel could give the port to some connection meanwhile, and the process could
    not come back. Raises ListenError.
    """
    with _bound_to_loopback(wanted) as reserved:
        port = int(reserved.getsockname()[1])
        if platform.system() != "Linux":
            # BSD binds no second socket to the port, so not that of the process either.
            reserved.close()
        yield port


def _bound_to_loopback(wanted: int) -> socket.socket:
    for port in (wanted, 0):
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((_LOOPBACK, port))
        except (OSError, OverflowError):
            bound.close()
        else:
            return bound
    raise ListenError(f"there is no free port on {_LOOPBACK}")


@contextmanager
def listening(endpoint: Endpoint) -> Iterator[socket.socket]:
    """A listening socket while the block runs, closed at its end; a Unix socket's file, which only
    its owner and group may use, goes with it.

    Raises:
        ListenError: another process listens there, or it cannot be listened on.
    """
    if isinstance(endpoint, TcpEndpoint):
        with listen(endpoint.host, endpoint.port) as listener:
            yield listener
        return
    with _lock(endpoint.path), _bound(endpoint.path) as listener:
        yield listener


@contextmanager
def _lock(path: str) -> Iterator[None]:
    """Keeps other processes from the path. The lock goes with its process, however that ends; its
    file stays, so that nobody locks one that is deleted."""
    file = f"{path}.lock"
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _LOCK_MODE)
    except OSError as error:
        raise _cannot_listen(path, f"{file}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _cannot_listen(path, "another process listens there") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _bound(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            _remove_stale(path)
            _bind_for_the_group(listener, path)
            listener.listen(BACKLOG)
        except OSError as error:
            raise _cannot_listen(path, error.strerror or str(error)) from None
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)


def _remove_stale(path: str) -> None:
    """Removes the socket of a process that was killed; nothing else. Raises ListenError,
    OSError."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _cannot_listen(path, "what is there is not a socket")
    if _is_listened_on(path):
        raise _cannot_listen(path, "another process listens there")
    os.unlink(path)


def _is_listened_on(path: str) -> bool:
    """Whether a process listens, also one that knows nothing of the lock. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as probe:
        # A process whose queue is full would keep us waiting.
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True
    return True


def _bind_for_the_group(listener: socket.socket, path: str) -> None:
    # By the umask: changed once it is bound, the file would let everybody in for a moment.
    previous = os.umask(_SOCKET_UMASK)
    try:
        listener.bind(path)
    finally:
        os.umask(previous)


def _cannot_listen(path: str, why: str) -> ListenError:
    return ListenError(f"cannot listen on unix:{path}: {why}")
