"""The form cache against a model: answers that arrive late and out of order, gaps, restarts.

Two promises: no form is served that is older than what the feed has told, and none is called
absent unless the backend has just said so.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from contracts.forms import FormConfig
from contracts.internal import ChangesAnswer, LookupAnswer
from contracts.problems import Problem, Rejected
from gateway.config.forms import FormCache
from gateway.upstream import Upstream, UpstreamUnavailable
from tests.support.builders import form_config
from tests.support.clock import ManualClock

ABSENT_SECONDS = 5.0
SLUGS = ["a", "b"]

pytestmark = pytest.mark.asyncio


@dataclass
class Backend:
    """What is true. A form's name says of which epoch it is."""

    epoch: int = 1
    revision: int = 1
    forms: dict[str, FormConfig] = field(default_factory=dict)
    changes: list[tuple[int, str, FormConfig | None]] = field(default_factory=list)

    def write(self, slug: str, *, is_there: bool) -> None:
        self.revision += 1
        form = form_config(slug=slug, revision=self.revision, name=str(self.epoch))
        if is_there:
            self.forms[slug] = form
        else:
            self.forms.pop(slug, None)
        self.changes.append((self.revision, slug, form if is_there else None))

    def restore(self, revision: int) -> None:
        self.epoch += 1
        self.revision = revision
        self.changes = []
        self.forms = {
            slug: form_config(slug=slug, revision=revision, name=str(self.epoch))
            for slug in list(self.forms)[1:]
        }

    def feed(self, epoch: str, since: int, *, is_gap: bool) -> ChangesAnswer:
        if is_gap or epoch != str(self.epoch):
            return ChangesAnswer(str(self.epoch), self.revision, True, {}, ())
        forms = {slug: form for revision, slug, form in self.changes if revision > since}
        return ChangesAnswer(epoch, self.revision, False, forms, ())

    def look_up(self, slugs: Sequence[str]) -> LookupAnswer:
        forms = {slug: self.forms.get(slug) for slug in slugs}
        return LookupAnswer(str(self.epoch), self.revision, forms)

    def last_change(self, slug: str, after: int, until: int) -> int:
        """The revision of the last one in between, or 0."""
        told = [r for r, changed, _ in self.changes if changed == slug and after < r <= until]
        return max(told, default=0)


@dataclass
class Question:
    """A look-up under way, and what the backend would have said when it was asked."""

    slugs: Sequence[str]
    early: LookupAnswer
    answered: asyncio.Future[LookupAnswer]


class SlowUpstream(Upstream):
    """Answers when it is told to."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.questions: list[Question] = []

    async def look_up(self, slugs: Sequence[str]) -> LookupAnswer:
        early = self.backend.look_up(slugs)
        question = Question(slugs, early, asyncio.get_running_loop().create_future())
        self.questions.append(question)
        return await question.answered

    def take(self, random: random.Random) -> Question:
        return self.questions.pop(random.randrange(len(self.questions)))


class Gateway:
    """A cache, one process after the other, and what the model knows that it was told."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = ManualClock()
        self.backend = Backend(forms={"a": form_config(slug="a", name="1")})
        self.absent_at: dict[str, float] = {}
        self.posts: dict[asyncio.Task[FormConfig], str] = {}
        self.served = 0
        self.start()

    def start(self) -> None:
        self.upstream = SlowUpstream(self.backend)
        self.cache = FormCache(self.upstream, self.clock)
        self.absent_at.clear()
        self.feed_answer: ChangesAnswer | None = None
        self.cursor = ("", 0)
        self.gap = 0

    async def stop(self) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await settle()
        self.posts.clear()

    async def post(self) -> None:
        slug = self.random.choice(SLUGS)
        self.posts[asyncio.create_task(self.cache.resolve(slug))] = slug

    async def change_form(self) -> None:
        self.backend.write(self.random.choice(SLUGS), is_there=self.random.random() < 0.5)

    async def restore_backup(self) -> None:
        self.backend.restore(self.random.randint(1, 9))

    async def let_time_pass(self) -> None:
        self.clock.advance(self.random.choice([1.0, 4.0, 11.0]))

    async def answer_feed(self) -> None:
        """What the feed says now may be heard later."""
        if self.feed_answer is None:
            is_gap = self.random.random() < 0.1
            self.feed_answer = self.backend.feed(*self.cursor, is_gap=is_gap)

    async def hear_feed(self) -> None:
        await self.answer_feed()
        answer, self.feed_answer = self.feed_answer, None
        assert answer is not None
        self.cache.apply(answer)
        self.cursor = (answer.epoch, answer.revision)
        if answer.is_reset:
            self.gap = answer.revision
            self.absent_at.clear()
        for slug in answer.forms:
            self.absent_at.pop(slug, None)

    async def answer_look_up(self) -> None:
        if not self.upstream.questions:
            return
        question = self.upstream.take(self.random)
        is_early = self.random.random() < 0.5
        answer = question.early if is_early else self.backend.look_up(question.slugs)
        for slug, form in answer.forms.items():
            if form is None:
                self.absent_at[slug] = self.clock.monotonic()
        question.answered.set_result(answer)

    async def fail_look_up(self) -> None:
        if self.upstream.questions:
            error = UpstreamUnavailable("away")
            self.upstream.take(self.random).answered.set_exception(error)

    async def restart(self) -> None:
        moment, held = self.cache.holdings()
        gap = self.gap
        await self.stop()
        self.start()
        if self.random.random() < 0.8:
            self.cache.restore(moment.epoch, moment.revision, map(moment.save, held))
            self.cursor, self.gap = (moment.epoch, moment.revision), gap

    async def check(self) -> None:
        """Every post that was answered was answered rightly."""
        await settle()
        for post, slug in list(self.posts.items()):
            if post.done():
                del self.posts[post]
                self._check_post(slug, post)

    def _check_post(self, slug: str, post: asyncio.Task[FormConfig]) -> None:
        error = post.exception()
        if error is None:
            self._check_served(slug, post.result())
            return
        assert isinstance(error, Rejected)
        assert error.problem in (Problem.FORM_NOT_FOUND, Problem.UNAVAILABLE)
        if error.problem is Problem.FORM_NOT_FOUND:
            assert self.clock.monotonic() - self.absent_at[slug] < ABSENT_SECONDS

    def _check_served(self, slug: str, form: FormConfig) -> None:
        self.served += 1
        epoch, revision = self.cursor
        if epoch != str(self.backend.epoch):
            # The feed has not said a word of this epoch: nothing can be older than it.
            return
        told = self.backend.last_change(slug, after=self.gap, until=revision)
        if form.name == epoch:
            assert form.revision >= told
        else:
            assert told == 0


STEPS = {
    Gateway.post: 30,
    Gateway.answer_look_up: 15,
    Gateway.change_form: 15,
    Gateway.hear_feed: 15,
    Gateway.answer_feed: 5,
    Gateway.fail_look_up: 3,
    Gateway.let_time_pass: 3,
    Gateway.restore_backup: 1,
    Gateway.restart: 1,
}


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(20))
async def test_no_answer_is_older_than_the_feed_and_none_absent_without_a_word(seed: int) -> None:
    gateway = Gateway(seed)
    for step in gateway.random.choices(list(STEPS), list(STEPS.values()), k=1_000):
        await step(gateway)
        await gateway.check()
    await gateway.stop()
    assert gateway.served > 100
