"""The contact form that every scenario posts: 6 fields, about 350 bytes urlencoded."""

from urllib.parse import urlencode

import orjson

from loadtests.work import Slot, Template, Work, joined, literal

_FIELDS = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "company": "Analytical Engines Ltd",
    "subject": "A question about your product",
    "message": "Hello, I would like to know more about the difference engine and whether it can be "
    "delivered to London before the end of the year. We would need two of them, one with the "
    "printing apparatus. With kind regards, Ada",
    "consent": "yes",
}
_BOUNDARY = "----formflow-load-7MA4YWxkTrZu0gW"
_LINE = b"One line of a letter that somebody attached to the form, and the next says the same.\n"

URLENCODED = Work("application/x-www-form-urlencoded", literal(urlencode(_FIELDS).encode()))
JSON = Work("application/json", literal(orjson.dumps(_FIELDS)))


def multipart(file_bytes: int) -> Work:
    """The form with one file of that size."""
    parts = [_part(f'name="{name}"', value.encode()) for name, value in _FIELDS.items()]
    letter = (_LINE * (file_bytes // len(_LINE) + 1))[:file_bytes]
    disposition = 'name="letter"; filename="letter.txt"\r\nContent-Type: text/plain'
    body = b"".join([*parts, _part(disposition, letter), f"--{_BOUNDARY}--\r\n".encode()])
    return Work(f"multipart/form-data; boundary={_BOUNDARY}", literal(body))


def with_turnstile() -> Work:
    """The form with a Turnstile token, another one for each post."""
    token = Template(b"&cf-turnstile-response=token-%012d", (Slot(),))
    return Work(URLENCODED.content_type, joined(URLENCODED.body, token))


def _part(disposition: str, content: bytes) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"
