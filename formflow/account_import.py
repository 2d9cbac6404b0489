"""Brings an archive of an account into another one, or back, through the management API.

Done twice it does nothing more: a form is known by its slug, a submission by the id that it had, a
file by its place in it.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import urlsplit

from rich.progress import Progress

from backend.imports.sources import FORMFLOW, own_submission
from formflow.account_archive import Contents, Files, file_query, opened, submissions
from formflow.batches import batches, length_of
from formflow.client import Client, CommandError, Refused
from formflow.output import progress_bar, shown

_MEGABYTE = 1024 * 1024
_IN_MEMORY_BYTES = 8 * _MEGABYTE
_COUNTED = (
    "environments",
    "forms",
    "forms_there",
    "webhooks",
    "imported",
    "known",
    "past_retention",
    "files",
    "files_there",
)
# What a form has that cannot be asked for.
_NOT_SETTINGS = frozenset(
    {"type", "id", "has_turnstile_secret", "webhooks", "created_at", "updated_at"}
)


@dataclass(frozen=True, slots=True)
class _Item:
    """A submission as the API takes it, and what is known of its files."""

    submission: dict[str, Any]
    files: Sequence[dict[str, Any]]

    @property
    def length(self) -> int:
        """The bytes that it takes of a request."""
        return length_of(self.submission)


def parse_renames(texts: Sequence[str], contents: Contents) -> dict[str, str]:
    """The new slugs of forms, by their old ones, of ``OLD=NEW``. Raises CommandError."""
    slugs = {form["slug"] for form in contents.forms}
    renames = {}
    for text in texts:
        old, separator, new = text.partition("=")
        if not (separator and new) or old not in slugs:
            raise CommandError(f"--rename {text}: say OLD=NEW, OLD being one of {_listed(slugs)}")
        renames[old] = new
    if len({renames.get(slug, slug) for slug in slugs}) < len(slugs):
        raise CommandError("--rename: two forms cannot have one slug")
    return renames


class AccountImport:
    """One import of an archive, which has been checked."""

    def __init__(
        self,
        client: Client,
        path: Path,
        contents: Contents,
        renames: Mapping[str, str],
        is_dry_run: bool,
    ) -> None:
        self._client = client
        self._path = path
        self._contents = contents
        self._renames = renames
        self._is_dry_run = is_dry_run
        self._counts: Counter[str] = Counter()
        self._notes: list[str] = []

    async def run(self) -> dict[str, Any]:
        """What was imported, or would be. Raises CommandError; what was done until then stays, and
        is known the next time."""
        await self._check_plan()
        await self._add_environments()
        form_ids = await self._add_forms()
        with opened(self._path) as archive, progress_bar(is_counted=True) as bar:
            bar.add_task("importing", total=self._contents.submissions)
            files = Files(archive)
            lines = submissions(self._path)
            for old_id, of_form in groupby(lines, key=lambda line: str(line["form_id"])):
                await self._add_submissions(form_ids[old_id], of_form, files, bar)
        if missing := self._contents.missing_files:
            self._notes.append(f"{missing} files were gone when the archive was made")
        counted = {name: self._counts[name] for name in _COUNTED}
        said = {"missing_files": missing, "notes": self._notes, "dry_run": self._is_dry_run}
        return {"account": self._contents.account} | counted | said

    async def _check_plan(self) -> None:
        """Raises CommandError for files that the account's plan does not allow."""
        if self._contents.files == 0:
            return
        account = await self._client.call("GET", "/v1/account")
        megabytes = account["limits"]["file_megabytes"]
        if megabytes == 0 or self._contents.file_bytes_max > megabytes * _MEGABYTE:
            raise CommandError(
                f"the largest file has {self._contents.file_bytes_max} bytes, and the plan "
                f"{account['plan']} allows {megabytes} MB: change the account's plan first"
            )

    async def _add_environments(self) -> None:
        there = {item["name"] for item in await self._client.all("/v1/environments")}
        for name in self._contents.environments:
            if name not in there:
                self._counts["environments"] += 1
                if not self._is_dry_run:
                    await self._client.call("POST", "/v1/environments", body={"name": name})

    async def _add_forms(self) -> dict[str, str | None]:
        """The ids that the forms have, by those that they had; None for one that is not there
        because nothing is to be changed."""
        there = {form["slug"]: form for form in await self._client.all("/v1/forms")}
        ids: dict[str, str | None] = {}
        for form in self._contents.forms:
            slug = self._renames.get(form["slug"], form["slug"])
            if slug in there:
                self._counts["forms_there"] += 1
                self._note_difference(form, there[slug])
                ids[form["id"]] = there[slug]["id"]
            else:
                self._counts["forms"] += 1
                ids[form["id"]] = await self._add_new_form(form, slug)
        return ids

    async def _add_new_form(self, form: Mapping[str, Any], slug: str) -> str | None:
        if self._is_dry_run:
            self._counts["webhooks"] += len(form["webhooks"])
            return None
        id = await self._add_form(form, slug)
        for webhook in form["webhooks"]:
            await self._add_webhook(id, slug, webhook)
        return id

    async def _add_webhook(self, form_id: str, slug: str, webhook: Mapping[str, Any]) -> None:
        """Makes a webhook again; what it lacks, or why it is not there, is said."""
        host = shown(urlsplit(webhook["url"]).hostname or "")
        body = dict(webhook) | {"headers": {}}
        try:
            made = await self._client.call("POST", f"/v1/forms/{form_id}/webhooks", body=body)
        except Refused as refused:
            self._notes.append(f"{slug}: the webhook to {host} was not made: {refused}")
            return
        self._counts["webhooks"] += 1
        note = (
            f"{slug}: the webhook {made['id']} to {host} has a new secret, which "
            f"formflow webhooks rotate-secret {made['id']} replaces by one that it shows"
        )
        if webhook["headers"]:
            note += f"; its headers {_listed(webhook['headers'])} are dropped: no value is known"
        self._notes.append(note)

    async def _add_form(self, form: Mapping[str, Any], slug: str) -> str:
        settings = _settings(form) | {"slug": slug}
        # Its secret is not in the archive, and the server's would not fit its site key.
        lacks_secret = form.get("turnstile_enabled") and form.get("turnstile_site_key") is not None
        try:
            if not lacks_secret:
                try:
                    return await self._create(settings)
                except Refused as refused:
                    if "no_secret" not in refused.codes:
                        raise
            self._notes.append(
                f"{slug}: Turnstile is off until it has its secret again: formflow forms change "
                f"{slug} --turnstile-secret-file FILE --turnstile-enabled"
            )
            return await self._create(settings | {"turnstile_enabled": False})
        except Refused as refused:
            advice = f"; import it as another form: --rename {form['slug']}=NEW"
            raise CommandError(
                f"{shown(slug)}: {refused}{shown(advice) if refused.status == 409 else ''}"
            ) from None

    async def _create(self, settings: Mapping[str, Any]) -> str:
        return str((await self._client.call("POST", "/v1/forms", body=settings))["id"])

    def _note_difference(self, form: Mapping[str, Any], there: Mapping[str, Any]) -> None:
        wanted, found = _settings(form), _settings(there)
        differing = {name for name in wanted.keys() - {"slug"} if wanted[name] != found.get(name)}
        if differing:
            self._notes.append(
                f"{there['slug']} is there already and keeps its own {_listed(differing)}; "
                f"--rename {form['slug']}=NEW makes another form"
            )
        if form["webhooks"]:
            self._notes.append(f"{there['slug']} is there already: none of its webhooks is made")

    async def _add_submissions(
        self,
        form_id: str | None,
        lines: Iterator[dict[str, Any]],
        files: Files,
        bar: Progress,
    ) -> None:
        items = (_Item(own_submission(line), line["files"]) for line in lines)
        for batch in batches(items, lambda item: item.length):
            if form_id is None:
                self._counts["imported"] += len(batch)
                for item in batch:
                    await self._add_files("", item.files, files, are_there=False)
            else:
                await self._add_batch(form_id, batch, files)
            bar.advance(bar.task_ids[0], len(batch))

    async def _add_batch(self, form_id: str, batch: Sequence[_Item], files: Files) -> None:
        body = {
            "source": FORMFLOW.name,
            "submissions": [item.submission for item in batch],
            "dry_run": self._is_dry_run,
        }
        path = f"/v1/forms/{form_id}/submissions/import"
        report = await self._client.call("POST", path, body=body)
        self._counts.update({name: report[name] for name in ("imported", "known")})
        self._counts["past_retention"] += report["past_retention"]
        for item, id in zip(batch, report["ids"], strict=True):
            if item.files:
                has_files = report["known"] > 0 and await self._has_files(id, len(item.files))
                await self._add_files(id, item.files, files, are_there=has_files)

    async def _has_files(self, id: str, count: int) -> bool:
        """Whether a submission is there with so many files."""
        try:
            return len((await self._client.call("GET", f"/v1/submissions/{id}"))["files"]) >= count
        except Refused as refused:
            if refused.status == 404:
                return False
            raise

    async def _add_files(
        self, id: str, records: Sequence[dict[str, Any]], files: Files, *, are_there: bool
    ) -> None:
        for position, record in enumerate(records):
            content = files.take(record["id"])
            if content is None:
                continue
            self._counts["files_there" if are_there else "files"] += 1
            if are_there or self._is_dry_run:
                continue
            # What is refused for now is sent again: a file that comes once would not do.
            with SpooledTemporaryFile(_IN_MEMORY_BYTES) as again:
                shutil.copyfileobj(content, again)
                await self._client.upload(
                    f"/v1/submissions/{id}/files", file_query(record, position), again, again.tell()
                )


def sentences(report: Mapping[str, Any]) -> Iterator[str]:
    """What people read of a report."""
    would = "would be " if report["dry_run"] else ""
    yield (
        f"{report['forms']} forms, {report['imported']} submissions and {report['files']} files of "
        f"{report['account']} {would}imported."
    )
    if report["forms_there"] or report["known"] or report["files_there"]:
        yield (
            f"There already: {report['forms_there']} forms, {report['known']} submissions, "
            f"{report['files_there']} files."
        )
    if report["past_retention"]:
        yield (
            f"{report['past_retention']} submissions are older than their form's retention_days, "
            "which removes them within a day."
        )
    for note in report["notes"]:
        yield f"{note}."


def _settings(form: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in form.items() if name not in _NOT_SETTINGS}


def _listed(names: Iterable[str]) -> str:
    return shown(sorted(names))
