"""The forms this gateway knows.

A look-up has three results: found, absent, could not ask. Only the first two are kept, found forms
in one bounded table, absent slugs in another and for seconds only, so that a scan of random slugs
pushes no real form out. Concurrent look-ups of a slug are one, and those of several slugs travel
together. The backend's feed keeps what is held up to date; while the feed is silent a held form
is looked up again before use, and used as it is if the backend cannot be asked. A slug that is not
held while the backend is away is refused as unavailable, never as unknown.
"""

import asyncio
import re
from collections.abc import Sequence

from contracts.forms import FormConfig, FormStatus
from contracts.internal import ChangesAnswer, UndecodableMessage
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from gateway.batching import Batcher, QueueFull
from gateway.upstream import Upstream, UpstreamUnavailable, unavailable

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_FORMS_MAX = 100_000
_ABSENT_MAX = 10_000
_ABSENT_SECONDS = 5.0
_FEED_SILENT_SECONDS = 10.0
_LOOKUP_SECONDS = 5.0
_NO_LOOKUP = "This form cannot be looked up right now. Try again in a moment."

Found = FormConfig | None | UndecodableMessage


class FormCache:
    """Resolves slugs to forms."""

    def __init__(self, upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock
        self._forms: dict[str, FormConfig] = {}
        self._absent: dict[str, float] = {}
        self._asking: dict[str, asyncio.Future[Found]] = {}
        self._lookups = Batcher(self._look_up_all, items_max=256, senders=2)
        self._epoch = ""
        self._revision = 0
        self._feed_heard_at = float("-inf")

    async def resolve(self, slug: str) -> FormConfig:
        """The live form of that slug.

        Raises:
            Rejected: FORM_NOT_FOUND, FORM_NOT_LIVE, UNAVAILABLE.
        """
        form = self._forms.get(slug)
        if form is None or not self._is_feed_heard():
            form = await self._ask(slug, form)
        if form.status is not FormStatus.LIVE:
            raise Rejected(
                Problem.FORM_NOT_LIVE,
                "This form is not taking submissions at the moment. Its owner can set it live.",
            )
        return form

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says."""
        if changes.is_reset:
            self._forms.clear()
            self._absent.clear()
        for slug, form in changes.forms.items():
            self._absent.pop(slug, None)
            if form is None:
                self._forms.pop(slug, None)
            elif slug in self._forms:
                self._forms[slug] = form
        self._epoch, self._revision = changes.epoch, changes.revision
        self._feed_heard_at = self._clock.monotonic()

    def _is_feed_heard(self) -> bool:
        return self._clock.monotonic() - self._feed_heard_at < _FEED_SILENT_SECONDS

    async def _ask(self, slug: str, held: FormConfig | None) -> FormConfig:
        if self._is_absent(slug):
            raise _not_found()
        try:
            form = await self._look_up(slug)
        except (UpstreamUnavailable, QueueFull, TimeoutError) as error:
            if held is not None:
                return held
            raise unavailable(_NO_LOOKUP) from error
        if isinstance(form, UndecodableMessage):
            raise unavailable(_NO_LOOKUP) from form
        if form is None:
            raise _not_found()
        return form

    def _is_absent(self, slug: str) -> bool:
        if _SLUG.fullmatch(slug) is None:
            return True
        expires = self._absent.get(slug)
        return expires is not None and self._clock.monotonic() < expires

    async def _look_up(self, slug: str) -> Found:
        future = self._asking.get(slug)
        if future is None:
            future = self._lookups.submit(slug)
            self._asking[slug] = future
            future.add_done_callback(lambda _: self._asking.pop(slug, None))
        # Shielded: one caller that gives up must not fail the others.
        return await asyncio.wait_for(asyncio.shield(future), _LOOKUP_SECONDS)

    async def _look_up_all(self, slugs: Sequence[str]) -> list[Found]:
        answer = await self._upstream.look_up(slugs)
        # An answer older than what the feed has told may be used once, but not kept.
        if answer.epoch == self._epoch and answer.revision >= self._revision:
            for slug, form in answer.forms.items():
                self._keep(slug, form)
        return [
            UndecodableMessage(f"the form {slug} needs a newer gateway")
            if slug in answer.undecodable
            else answer.forms.get(slug)
            for slug in slugs
        ]

    def _keep(self, slug: str, form: FormConfig | None) -> None:
        if form is not None:
            if len(self._forms) >= _FORMS_MAX:
                del self._forms[next(iter(self._forms))]
            self._forms[slug] = form
            self._absent.pop(slug, None)
            return
        self._forms.pop(slug, None)
        if len(self._absent) >= _ABSENT_MAX:
            self._absent.clear()
        self._absent[slug] = self._clock.monotonic() + _ABSENT_SECONDS


def _not_found() -> Rejected:
    return Rejected(
        Problem.FORM_NOT_FOUND,
        "There is no form at this address. Check the slug in the form's action.",
    )
