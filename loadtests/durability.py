"""Whether an acknowledged post is on the disk: what the database says, and what the disk was asked.

The connection that commits says what it is set to. And while a lone post that is durable is
answered, the disk must be told to flush its cache, and the kernel counts flushes. Other programs
flush too: that all posts saw a flush proves little, that one did not proves that it was not
durable.
"""

from pathlib import Path

import httpx

from loadtests.disk import flushes_of
from loadtests.targets import Target
from loadtests.work import Work

_POSTS = 50


def evidence_of(target: Target, work: Work, directory: Path) -> dict[str, str]:
    """What the store says of itself, and how many of a few posts, sent one after the other, saw
    the directory's disk flush."""
    if target.store is None:
        return {"stores": "nothing"}
    told = target.store.durability()
    if flushes_of(directory) is None:
        return told | {"disk flushes": "not counted by this kernel"}
    with httpx.Client() as client:
        flushed = sum(_flushes(client, target, work, n, directory) for n in range(_POSTS))
    return told | {"disk flushed during": f"{flushed} of {_POSTS} lone posts"}


def _flushes(client: httpx.Client, target: Target, work: Work, n: int, directory: Path) -> bool:
    before = flushes_of(directory)
    send(client, target, work, n)
    return flushes_of(directory) != before


def send(client: httpx.Client, target: Target, work: Work, n: int) -> int:
    """Sends the n-th post of some work by itself; returns the status of its answer."""
    head, _, body = work.requests(target).fill(n).partition(b"\r\n\r\n")
    request_line, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    path = request_line.split(" ")[1]
    return client.post(target.origin + path, content=body, headers=headers).status_code
