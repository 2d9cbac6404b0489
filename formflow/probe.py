"""``formflow probe``: a marked post through the whole chain, and what became of it at each hop."""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

import httpx
import typer

from contracts.probes import PROBE_FIELD, PROBE_HEADER
from contracts.runtime.clock import SystemClock
from contracts.runtime.settings import load_settings
from formflow.client import Client, CommandError, Refused, Target, with_client
from formflow.options import AsJson, Config, Data, Key, Url
from formflow.output import print_json, print_table
from formflow.probe_report import Hop, Report, delivery_hops, has_ended, why_undelivered

_COLUMNS = ("hop", "target", "status", "ms", "attempts", "error")
_FILE = ("probe.txt", b"FormFlow probe\n", "text/plain")
# As long as a visitor may be kept waiting, whatever the wait for what follows.
_POST_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.05
_PAUSE_SECONDS_MAX = 1.0
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})


def probe(
    form: Annotated[str, typer.Argument(help="The form's slug or id.")],
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait until all is delivered.", min=1.0)
    ] = 30.0,
    keep: Annotated[bool, typer.Option("--keep", help="Do not delete the submission.")] = False,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Send a marked post to a form and follow it to its webhooks and mails."""
    target = Target(url, key, config, data)
    origin = _origin_of(target)
    report = with_client(
        target, lambda client: _Probe(client, origin, timeout).run(form, is_kept=keep)
    )
    if as_json:
        print_json(report.document())
    else:
        print_table([asdict(hop) for hop in report.hops], _COLUMNS)
        for note in report.notes:
            typer.echo(note)
    if report.problem is not None:
        raise CommandError(report.problem)


def _origin_of(target: Target) -> str:
    """Where a gateway is, as far as the command knows."""
    if target.url is not None:
        return target.url
    return load_settings(target.config, data_dir=target.data).public_origin()


def address_of(origin: str, ingest_url: str) -> str:
    """Where to post. A product that nobody told its public origin may know itself as this machine
    only, which is another one seen from elsewhere."""
    here = httpx.URL(origin)
    there = here.join(ingest_url)
    if there.host in _THIS_MACHINE and here.host not in _THIS_MACHINE:
        return str(here.join(there.path))
    return str(there)


class _Probe:
    """One probe, on its way."""

    def __init__(self, client: Client, origin: str, timeout_seconds: float) -> None:
        self._client = client
        self._origin = origin
        self._timeout_seconds = timeout_seconds
        self._monotonic = SystemClock().monotonic
        # What was last read of the submission, when first, and why not.
        self._document: Mapping[str, Any] | None = None
        self._read_at = 0.0
        self._complaint = "it does not show up in the API"

    async def run(self, form: str, *, is_kept: bool) -> Report:
        """Sends it and follows it. Raises CommandError if that cannot even begin."""
        form_id = await self._client.form_id(form)
        path = f"/v1/forms/{form_id}"
        settings = await self._client.call("GET", path)
        prepared = await self._client.call("POST", f"{path}/probe")
        report = Report(form_id, secrets.token_hex(8))
        report.hops.append(await self._accept(prepared, report))
        if report.submission_id is None:
            return report
        posted_at = self._monotonic()
        # What was found until then is the report.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_seconds):
                await self._follow(f"/v1/submissions/{report.submission_id}")
        report.hops.append(self._store_hop(posted_at))
        if self._document is not None:
            report.hops += delivery_hops(self._document)
            if not report.has_deliveries:
                report.notes.append(why_undelivered(settings, self._document))
        if not is_kept:
            await self._delete(report)
        return report

    async def _accept(self, prepared: Mapping[str, Any], report: Report) -> Hop:
        """Posts it as a visitor would; the report then has the id of what was accepted."""
        url = address_of(self._origin, prepared["ingest_url"])
        fields = prepared["fields"] | {PROBE_FIELD: report.marker}
        files = [(name, _FILE) for name in prepared["files"]]
        body = {"data": fields, "files": files} if files else {"json": fields}
        headers = {PROBE_HEADER.decode(): prepared["token"], "accept": "application/json"}
        started = self._monotonic()
        try:
            async with httpx.AsyncClient(timeout=_POST_SECONDS, trust_env=False) as http:
                answer = await http.post(url, headers=headers, **body)
        except httpx.TransportError as error:
            return Hop("accept", url, "unreachable", error=str(error) or type(error).__name__)
        ms = self._ms_since(started)
        if not answer.is_success:
            return Hop("accept", url, "refused", ms, 1, str(Refused(answer)))
        try:
            report.submission_id = answer.json()["id"]
        except (ValueError, KeyError, TypeError):
            return Hop("accept", url, "refused", ms, 1, "this is no answer of FormFlow's")
        is_queued = "formflow-queued" in answer.headers
        return Hop("accept", url, "queued" if is_queued else "stored", ms, 1)

    async def _follow(self, path: str) -> None:
        """Reads the submission again and again until everything has ended."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                document = await self._client.call("GET", path)
            except Refused as refused:
                if refused.status != httpx.codes.NOT_FOUND:
                    self._complaint = str(refused)
            except CommandError as error:
                self._complaint = str(error)
            else:
                if self._document is None:
                    self._read_at = self._monotonic()
                self._document = document
                if has_ended(document):
                    return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_SECONDS_MAX)

    def _store_hop(self, posted_at: float) -> Hop:
        if self._document is None:
            return Hop("store", "", "missing", error=self._complaint)
        ms = round((self._read_at - posted_at) * 1000)
        return Hop("store", self._document["id"], "readable", ms)

    async def _delete(self, report: Report) -> None:
        """Deletes the submission, or notes that it stays."""
        if self._document is None:
            report.notes.append(
                f"Once it is stored, delete it: formflow submissions delete {report.submission_id}"
            )
            return
        try:
            await self._client.call("DELETE", f"/v1/submissions/{report.submission_id}")
        except CommandError as error:
            report.notes.append(f"{report.submission_id} is not deleted: {error}")

    def _ms_since(self, started: float) -> int:
        return round((self._monotonic() - started) * 1000)
