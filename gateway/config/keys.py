"""The keys this gateway knows.

A gateway never runs bcrypt. A well-formed key is verified by the backend once; from then on a
keyed digest of it identifies the grant in memory, until the feed says that the key has ended.
While the feed is silent, known keys go on for up to a day and are verified again behind the posts
that carry them; a key that expires ends by itself. Refused keys are remembered for seconds. The key
itself is never kept.
"""

import asyncio
import hashlib
from collections.abc import Iterable

from contracts.addresses import is_address_in
from contracts.forms import FormConfig, KeyGrant, KeyRestrictions
from contracts.internal import ChangesAnswer, KeyQuestion, UndecodableMessage, VerifyAnswer
from contracts.keys import KeyKind, parse_key
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from gateway.bounded import Denials, RecentlyUsed
from gateway.config.ages import Age, Ages, Held, Moment, Saved
from gateway.config.questions import Questions, Standing
from gateway.config.revalidation import Revalidation
from gateway.config.sharing import shared_grant
from gateway.upstream import Upstream, UpstreamUnavailable, unavailable

_GRANTS_MAX = 10_000
_REFUSED_MAX = 10_000
_REFUSED_SECONDS = 5.0
_VERIFY_SECONDS = 5.0


class KeyCache:
    """Authenticates what a post carries as its key. ``version`` goes up with every change."""

    def __init__(
        self, upstream: Upstream, clock: Clock, token: str, *, grants_max: int = _GRANTS_MAX
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._digest_key = hashlib.sha256(b"gateway key digests\0" + token.encode()).digest()
        self._ages = Ages(clock)
        self._grants: RecentlyUsed[bytes, Held[KeyGrant]] = RecentlyUsed(grants_max)
        self._refused: Denials[bytes] = Denials(clock, _REFUSED_SECONDS, _REFUSED_MAX)
        self._questions: Questions[bytes, KeyGrant | None] = Questions(self._ages)
        self._revalidation: Revalidation[tuple[bytes, str]] = Revalidation(
            clock, lambda key: self._question(*key)
        )
        self.version = 0

    def __len__(self) -> int:
        return len(self._grants)

    @property
    def refused(self) -> int:
        """How many keys are held that the backend has refused."""
        return len(self._refused)

    async def authenticate(
        self, authorization: bytes | None, form: FormConfig, client: str
    ) -> KeyGrant | None:
        """The grant of the key that the address ``client`` sent; None if nothing was sent as a
        bearer.

        Raises:
            Rejected: INVALID_KEY, never a downgrade to anonymous; IP_NOT_ALLOWED; UNAVAILABLE for
                a key that is not known here while the backend is away; RATE_LIMITED.
        """
        text = _bearer(authorization)
        if text is None:
            return None
        key = parse_key(text)
        if key is None or key.kind is KeyKind.MANAGEMENT:
            raise _invalid()
        grant = await self._grant_of(text, client)
        if grant is None or grant.account_id != form.account_id:
            raise _invalid()
        if grant.restrictions is not None:
            check_restrictions(grant.restrictions, form, client, self._clock.now_ms())
        return grant

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says."""
        self._ages.heard(changes)
        if changes.is_reset or changes.keys:
            # Whose keys they are is not known before the answer.
            self._questions.told_all()
        if changes.keys:
            ended = set(changes.keys)
            for digest, held in self._grants.items():
                if held.thing.key_id in ended:
                    self._drop(digest)
        self._revalidation.resume()

    def holdings(self) -> tuple[Moment, list[tuple[bytes, Held[KeyGrant]]]]:
        """Where things stand, and a copy of all grants, by digest of their key."""
        return self._ages.moment(), self._grants.items()

    def restore(
        self, epoch: str, revision: int, grants: Iterable[tuple[bytes, Saved[KeyGrant]]]
    ) -> None:
        """Takes over what an earlier process held, and where its feed stood."""
        self._ages.resume(epoch, revision)
        for digest, saved in grants:
            held = self._ages.hold_again(saved)
            if self._ages.of(held) is not Age.EXPIRED:
                self._grants.put(digest, held)

    async def _grant_of(self, text: str, client: str) -> KeyGrant | None:
        digest = hashlib.blake2b(text.encode(), key=self._digest_key, digest_size=32).digest()
        held = self._grants.use(digest)
        age = Age.EXPIRED if held is None else self._ages.of(held)
        if held is None or age is Age.EXPIRED:
            return None if digest in self._refused else await self._ask(digest, text, client)
        if age is Age.STALE:
            self._revalidation.want((digest, text))
        return held.thing

    async def _ask(self, digest: bytes, text: str, client: str) -> KeyGrant | None:
        question = self._question(digest, text, client)
        try:
            # Shielded: one caller that gives up must not fail the others.
            return await asyncio.wait_for(asyncio.shield(question), _VERIFY_SECONDS)
        except (UpstreamUnavailable, UndecodableMessage, TimeoutError) as error:
            raise unavailable(
                "This key cannot be checked right now. Try again in a moment."
            ) from error

    def _question(
        self, digest: bytes, text: str, client: str | None = None
    ) -> asyncio.Future[KeyGrant | None]:
        future = self._questions.find(digest)
        if future is None:
            verifying = asyncio.create_task(self._verify(digest, KeyQuestion(text, client)))
            future = self._questions.open(digest, verifying)
        return future

    async def _verify(self, digest: bytes, question: KeyQuestion) -> KeyGrant | None:
        try:
            for _ in range(2):
                self._questions.ask_now([digest])
                answer = await self._upstream.verify_key(question)
                standing = self._questions.standing(digest, answer)
                if standing is not Standing.OUTDATED:
                    return self._take(digest, answer, standing)
        finally:
            self._questions.close([digest])
        raise UpstreamUnavailable("every answer is older than what the feed has told")

    def _take(self, digest: bytes, answer: VerifyAnswer, standing: Standing) -> KeyGrant | None:
        if answer.grant is None:
            self._drop(digest)
            self._refused.add(digest)
        elif standing is Standing.KEEP:
            self._hold(digest, answer.grant)
        return answer.grant

    def _hold(self, digest: bytes, grant: KeyGrant) -> None:
        held = self._grants.peek(digest)
        if held is None or held.thing != grant or held.era is not self._ages.era:
            self.version += 1
        self._refused.discard(digest)
        self._grants.put(digest, self._ages.hold(shared_grant(grant)))

    def _drop(self, digest: bytes) -> None:
        if digest in self._grants:
            self._grants.discard(digest)
            self.version += 1


def check_restrictions(
    restrictions: KeyRestrictions, form: FormConfig, client: str, now_ms: int
) -> None:
    """Whether a key of these restrictions may post to the form, from the address ``client``.

    Raises:
        Rejected: INVALID_KEY if it has expired or the form is beyond its reach, IP_NOT_ALLOWED.
    """
    expires_at, environment = restrictions.expires_at, restrictions.environment
    if (
        (expires_at is not None and now_ms >= expires_at)
        or (restrictions.is_test and not form.is_test)
        or (environment is not None and form.environment != environment)
        or (restrictions.allowed_forms is not None and form.id not in restrictions.allowed_forms)
    ):
        raise _invalid()
    if restrictions.allowed_ips is not None and not is_address_in(client, restrictions.allowed_ips):
        raise Rejected(
            Problem.IP_NOT_ALLOWED,
            "The API key may not be used from this address. Post from one of the networks that "
            "its allowed_ips name, or change them.",
        )


def _bearer(authorization: bytes | None) -> str | None:
    """What was sent as a bearer token; None if there is no such header or it is another scheme."""
    if authorization is None:
        return None
    scheme, _, token = authorization.decode("latin-1").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _invalid() -> Rejected:
    return Rejected(
        Problem.INVALID_KEY,
        "The API key is unknown, revoked or expired, or may not post to this form: that takes a "
        "submission key (ff_sub_…) of its account, or one with the scope submissions:write. Leave "
        "the Authorization header out to post anonymously.",
    )
