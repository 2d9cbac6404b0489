"""The keys this gateway knows.

A gateway never runs bcrypt. A well-formed key is verified by the backend once; from then on a
keyed digest of it identifies the grant in memory, until the feed says that the key has ended.
Refused keys are remembered for seconds. The key itself is never kept.
"""

import asyncio
import hashlib

from contracts.forms import FormConfig, KeyGrant
from contracts.internal import ChangesAnswer, UndecodableMessage
from contracts.keys import KeyKind, parse_key
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from gateway.upstream import Upstream, UpstreamUnavailable, unavailable

_GRANTS_MAX = 10_000
_REFUSED_MAX = 10_000
_REFUSED_SECONDS = 5.0
_FEED_SILENT_SECONDS = 10.0


class KeyCache:
    """Authenticates what a post carries as its key."""

    def __init__(self, upstream: Upstream, clock: Clock, token: str) -> None:
        self._upstream = upstream
        self._clock = clock
        self._digest_key = hashlib.sha256(b"gateway key digests\0" + token.encode()).digest()
        self._grants: dict[bytes, KeyGrant] = {}
        self._refused: dict[bytes, float] = {}
        self._asking: dict[bytes, asyncio.Task[KeyGrant | None]] = {}
        self._epoch = ""
        self._revision = 0
        self._feed_heard_at = float("-inf")

    async def authenticate(self, authorization: bytes | None, form: FormConfig) -> KeyGrant | None:
        """The grant of the key that was sent; None if nothing was sent as a bearer.

        Raises:
            Rejected: INVALID_KEY, never a downgrade to anonymous; UNAVAILABLE for a key that is
                not known here while the backend is away; RATE_LIMITED.
        """
        text = _bearer(authorization)
        if text is None:
            return None
        key = parse_key(text)
        if key is None or key.kind is not KeyKind.SUBMISSION:
            raise _invalid()
        grant = await self._grant_of(text)
        if grant is None or grant.account_id != form.account_id:
            raise _invalid()
        return grant

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says."""
        if changes.is_reset:
            self._grants.clear()
        elif changes.keys:
            ended = set(changes.keys)
            self._grants = {
                digest: grant for digest, grant in self._grants.items() if grant.key_id not in ended
            }
        self._epoch, self._revision = changes.epoch, changes.revision
        self._feed_heard_at = self._clock.monotonic()

    async def _grant_of(self, text: str) -> KeyGrant | None:
        digest = hashlib.blake2b(text.encode(), key=self._digest_key, digest_size=32).digest()
        held = self._grants.get(digest)
        now = self._clock.monotonic()
        if held is not None and now - self._feed_heard_at < _FEED_SILENT_SECONDS:
            return held
        if now < self._refused.get(digest, 0.0):
            return None
        try:
            return await self._verify_once(digest, text)
        except (UpstreamUnavailable, UndecodableMessage) as error:
            if held is not None:
                return held
            raise unavailable(
                "This key cannot be checked right now. Try again in a moment."
            ) from error

    async def _verify_once(self, digest: bytes, text: str) -> KeyGrant | None:
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._verify(digest, text))
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        # Shielded: one caller that gives up must not fail the others.
        return await asyncio.shield(task)

    async def _verify(self, digest: bytes, text: str) -> KeyGrant | None:
        answer = await self._upstream.verify_key(text)
        if answer.grant is None:
            self._grants.pop(digest, None)
            if len(self._refused) >= _REFUSED_MAX:
                self._refused.clear()
            self._refused[digest] = self._clock.monotonic() + _REFUSED_SECONDS
        elif answer.epoch == self._epoch and answer.revision >= self._revision:
            # An answer older than what the feed has told may be used once, but not kept.
            if len(self._grants) >= _GRANTS_MAX:
                del self._grants[next(iter(self._grants))]
            self._grants[digest] = answer.grant
        return answer.grant


def _bearer(authorization: bytes | None) -> str | None:
    """What was sent as a bearer token; None if there is no such header or it is another scheme."""
    if authorization is None:
        return None
    scheme, _, token = authorization.decode("latin-1").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _invalid() -> Rejected:
    return Rejected(
        Problem.INVALID_KEY,
        "The API key is unknown, revoked, or not a submission key (ff_sub_…) of this form's "
        "account. Leave the Authorization header out to post anonymously.",
    )
