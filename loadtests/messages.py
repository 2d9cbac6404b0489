"""The least that must be read of an HTTP/1.1 message to know where it ends."""

import re

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)\r\n")


class UnreadableMessage(ValueError):
    """A message whose head does not say how long its body is."""


def message_length(data: bytes) -> int:
    """The bytes of the message that ``data`` begins with; 0 while its head is incomplete.

    Raises:
        UnreadableMessage: there is no Content-Length.
    """
    head = data.find(b"\r\n\r\n") + 4
    if head < 4:
        return 0
    length = _LENGTH.search(data, 0, head)
    if length is None:
        raise UnreadableMessage(data[:head].decode("latin-1"))
    return head + int(length[1])
