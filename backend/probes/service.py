"""Gives out what a probe is sent with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from backend.access import Principal
from backend.answers import missing
from backend.audit.record import record
from backend.db import Database
from backend.forms.store import FormRow, find_form
from backend.probes.samples import Values, sample_files, sample_values
from contracts.ids import is_id
from contracts.probes import PROBE_SECONDS, ProbeTokens
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings
from contracts.usage import day_of


@dataclass(frozen=True, slots=True)
class Probe:
    """A post to make: where, with which ``token``, ``values`` and files (for the fields named in
    ``files``). ``expires_at`` is Unix milliseconds."""

    token: str
    values: Values
    files: Sequence[str]
    ingest_url: str
    expires_at: int


class ProbeService:
    """Probes of an account's forms."""

    def __init__(self, database: Database, settings: Settings, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._origin = settings.public_url or ""
        token = settings.internal_token
        self._tokens = ProbeTokens(token.get_secret_value()) if token else None

    async def prepare(self, principal: Principal, form_id: str) -> Probe:
        """What a probe of a form is sent with, good for five minutes.

        Raises:
            Rejected: NOT_FOUND; UNAVAILABLE if this process does not know the internal token.
        """
        if not is_id(form_id, "frm"):
            raise missing("form")
        async with self._database.write() as connection:
            form = await find_form(connection, principal.account_id, principal.reach, form_id)
            if form is None:
                raise missing("form")
            now_ms = self._clock.now_ms()
            probe = self._probe(form, now_ms)
            await record(connection, principal, "form.probed", form_id, now_ms)
        return probe

    def _probe(self, form: FormRow, now_ms: int) -> Probe:
        if self._tokens is None:
            raise Rejected(
                Problem.UNAVAILABLE,
                "Probes are signed with the internal token: set FORMFLOW_INTERNAL_TOKEN to that of "
                "the running product.",
            )
        expires_at = now_ms // 1000 + PROBE_SECONDS
        honeypot = form.honeypot_field if form.honeypot_enabled else None
        # An address that is there, and whose owner has asked for it: an autoresponse goes to it.
        email = form.notify_emails.partition(",")[0].strip() or None
        today = date.fromisoformat(day_of(now_ms))
        return Probe(
            token=self._tokens.sign(form.id, expires_at),
            values=sample_values(form.fields, honeypot, email, today),
            files=sample_files(form.fields),
            ingest_url=f"{self._origin}/v1/f/{form.slug}",
            expires_at=expires_at * 1000,
        )
