"""The forms this gateway knows.

A look-up has three results: found, absent, could not ask. Only the first two are kept, found forms
in one bounded table, absent slugs in another and for seconds only, so that a scan of random slugs
pushes no real form out. Concurrent look-ups of a slug are one, and those of several slugs travel
together.

A held form is used at once: fresh while the backend's feed keeps it current, stale for up to a day
of silence, while it is looked up again behind the post. When the feed starts anew, all that is held
is stale until it has been looked up again. No answer replaces what the feed has told later. A slug
that is not held while the backend is away is refused as unavailable, never as unknown.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence

from contracts.forms import FormConfig
from contracts.internal import ChangesAnswer, LookupAnswer, UndecodableMessage
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from gateway.batching import Batcher, QueueFull
from gateway.bounded import Denials, RecentlyUsed
from gateway.config.ages import Age, Ages, Held, Moment, Saved
from gateway.config.questions import Questions, Standing
from gateway.config.revalidation import Revalidation
from gateway.config.sharing import shared_form
from gateway.upstream import Upstream, UpstreamUnavailable, unavailable

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_FORMS_MAX = 100_000
_ABSENT_MAX = 10_000
_ABSENT_SECONDS = 5.0
_LOOKUP_SECONDS = 5.0


class NotKnown(Exception):
    """An answer that does not say whether there is such a form."""


Found = FormConfig | None | NotKnown

_OUTDATED = NotKnown("the answer is older than what the feed has told")


class FormCache:
    """Resolves slugs to forms. ``version`` goes up with every change of what is held."""

    def __init__(self, upstream: Upstream, clock: Clock, *, forms_max: int = _FORMS_MAX) -> None:
        self._upstream = upstream
        self._ages = Ages(clock)
        self._forms: RecentlyUsed[str, Held[FormConfig]] = RecentlyUsed(forms_max)
        self._absent: Denials[str] = Denials(clock, _ABSENT_SECONDS, _ABSENT_MAX)
        self._questions: Questions[str, Found] = Questions(self._ages)
        self._lookups = Batcher(self._look_up_all, items_max=256, senders=2)
        self._revalidation = Revalidation(clock, self._question)
        self.version = 0
        # Posts whose form was in memory, and others.
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._forms)

    @property
    def absent(self) -> int:
        """How many slugs are held that no form has."""
        return len(self._absent)

    async def resolve(self, slug: str) -> FormConfig:
        """The form of that slug, live or not.

        Raises:
            Rejected: FORM_NOT_FOUND, UNAVAILABLE.
        """
        held = self._forms.use(slug)
        age = Age.EXPIRED if held is None else self._ages.of(held)
        if held is None or age is Age.EXPIRED:
            self.misses += 1
            return await self._ask(slug)
        self.hits += 1
        if age is Age.STALE:
            self._revalidation.want(slug)
        return held.thing

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says."""
        self._ages.heard(changes)
        if changes.is_reset:
            self._questions.told_all()
            self._absent.clear()
            self._revalidation.sweep(self._forms.keys(), self._is_left_behind)
        for slug, form in changes.forms.items():
            self._questions.told(slug)
            is_wanted = slug in self._forms or slug in self._absent or slug in self._questions
            # Also when the form is None: that may mean that this version cannot decode it.
            self._absent.discard(slug)
            if form is None:
                self._drop(slug)
            elif is_wanted:
                self._hold(form)
        self._revalidation.resume()

    def holdings(self) -> tuple[Moment, list[Held[FormConfig]]]:
        """Where things stand, and a copy of all that is held."""
        return self._ages.moment(), self._forms.values()

    def restore(self, epoch: str, revision: int, forms: Iterable[Saved[FormConfig]]) -> None:
        """Takes over what an earlier process held, and where its feed stood."""
        self._ages.resume(epoch, revision)
        for saved in forms:
            held = self._ages.hold_again(saved)
            if self._ages.of(held) is not Age.EXPIRED:
                self._forms.put(held.thing.slug, held)
        self._revalidation.sweep(self._forms.keys(), self._is_left_behind)

    def _current(self, slug: str) -> Held[FormConfig] | None:
        """What is held of the slug, unless the feed has started anew since."""
        held = self._forms.peek(slug)
        return held if held is not None and held.era is self._ages.era else None

    def _is_left_behind(self, slug: str) -> bool:
        return slug in self._forms and self._current(slug) is None

    async def _ask(self, slug: str) -> FormConfig:
        if _SLUG.fullmatch(slug) is None or slug in self._absent:
            raise _not_found()
        try:
            # Shielded: one caller that gives up must not fail the others.
            form = await asyncio.wait_for(asyncio.shield(self._question(slug)), _LOOKUP_SECONDS)
        except (UpstreamUnavailable, UndecodableMessage, QueueFull, TimeoutError) as error:
            raise _unavailable() from error
        held = self._current(slug)
        if held is not None:
            # The feed may have told more since the answer came.
            return held.thing
        if isinstance(form, NotKnown):
            raise _unavailable() from form
        if form is None:
            raise _not_found()
        return form

    def _question(self, slug: str) -> asyncio.Future[Found]:
        future = self._questions.find(slug)
        return future or self._questions.open(slug, self._lookups.submit(slug))

    async def _look_up_all(self, slugs: Sequence[str]) -> list[Found]:
        try:
            found = await self._look_up(slugs)
            outdated = [slug for slug in slugs if found[slug] is _OUTDATED]
            if outdated:
                found |= await self._look_up(outdated)
        finally:
            self._questions.close(slugs)
        return [found[slug] for slug in slugs]

    async def _look_up(self, slugs: Sequence[str]) -> dict[str, Found]:
        self._questions.ask_now(slugs)
        answer = await self._upstream.look_up(slugs)
        return {slug: self._take(slug, answer) for slug in slugs}

    def _take(self, slug: str, answer: LookupAnswer) -> Found:
        standing = self._questions.standing(slug, answer)
        if standing is Standing.OUTDATED:
            held = self._current(slug)
            return _OUTDATED if held is None else held.thing
        found = _found(slug, answer)
        if standing is Standing.KEEP:
            return self._keep(slug, found)
        return found

    def _keep(self, slug: str, found: Found) -> Found:
        if isinstance(found, FormConfig):
            return self._hold(found)
        self._drop(slug)
        if found is None:
            self._absent.add(slug)
        return found

    def _hold(self, form: FormConfig) -> FormConfig:
        """The newer one of this document and the one held."""
        # Revisions of before a gap do not compare: they may be of another epoch.
        current = self._current(form.slug)
        if current is not None and current.thing.revision > form.revision:
            return current.thing
        if current is not None and current.thing == form:
            form = current.thing
        else:
            form = shared_form(form)
            self.version += 1
        self._absent.discard(form.slug)
        self._forms.put(form.slug, self._ages.hold(form))
        return form

    def _drop(self, slug: str) -> None:
        if slug in self._forms:
            self._forms.discard(slug)
            self.version += 1


def _found(slug: str, answer: LookupAnswer) -> Found:
    if slug in answer.forms:
        return answer.forms[slug]
    return NotKnown(f"the form {slug} needs a newer gateway")


def _unavailable() -> Rejected:
    return unavailable("This form cannot be looked up right now. Try again in a moment.")


def _not_found() -> Rejected:
    return Rejected(
        Problem.FORM_NOT_FOUND,
        "There is no form at this address. Check the slug in the form's action.",
    )
