"""HTTP of the mailbox: the mails that were written to files.

There are links in it that let people in, so that it is for those only who may do everything.
"""

from pydantic import BaseModel, ConfigDict, Field

from backend.access import OWNERSHIP
from backend.answers import missing
from backend.mail.mailbox import OpenMail, StoredMail
from backend.operations import Call, Operation
from backend.paging import Page, PageQuery, cut
from backend.schemas import Time
from contracts.runtime.clock import iso


class MailboxMail(BaseModel):
    """A mail that was written to a file because there is no SMTP server."""

    # "from" is no name in Python.
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    id: str
    to: str = Field(examples=["ada@example.com"])
    from_: str = Field(alias="from", examples=["FormFlow <formflow@example.com>"])
    subject: str
    received_at: Time
    size: int = Field(description="Bytes.")

    @classmethod
    def of(cls, mail: StoredMail) -> "MailboxMail":
        """The answer for a mail."""
        return cls(
            id=mail.id,
            to=mail.to,
            **{"from": mail.sender},
            subject=mail.subject,
            received_at=iso(mail.received_at),
            size=mail.size,
        )


class MailboxPage(Page[MailboxMail]):
    """A page of mails."""


class Header(BaseModel):
    """A header of a mail, decoded."""

    name: str
    value: str


class OpenMailboxMail(MailboxMail):
    """A mail with all that is in it."""

    headers: list[Header]
    text: str
    html: str = Field(description="Shows what visitors wrote: escaped, and yet to be sandboxed.")
    raw: str = Field(description="The message itself, as it would have gone out.")

    @classmethod
    def of_open(cls, found: OpenMail) -> "OpenMailboxMail":
        """The answer for a mail."""
        summary = MailboxMail.of(found.mail)
        return cls(
            **summary.model_dump(),
            headers=[Header(name=name, value=value) for name, value in found.headers],
            text=found.text,
            html=found.html,
            raw=found.raw,
        )


async def list_mailbox(call: Call) -> MailboxPage:
    query: PageQuery = call.query
    before, mailbox = query.before("mail"), call.services.mailbox
    mails = (
        await mailbox.newest(call.principal.account_id, before, query.limit + 1) if mailbox else []
    )
    page, next_cursor = cut(mails, query.limit)
    return MailboxPage(data=[MailboxMail.of(mail) for mail in page], next_cursor=next_cursor)


async def get_mail(call: Call) -> OpenMailboxMail:
    mailbox, id = call.services.mailbox, call.path["mail_id"]
    found = await mailbox.find(call.principal.account_id, id) if mailbox else None
    if found is None:
        raise missing("mail")
    return OpenMailboxMail.of_open(found)


operations = (
    Operation(
        method="GET",
        path="/v1/mailbox",
        handler=list_mailbox,
        summary="List the mails that were written to files for want of an SMTP server, newest "
        "first",
        right=OWNERSHIP,
        query=PageQuery,
        answer=MailboxPage,
    ),
    Operation(
        method="GET",
        path="/v1/mailbox/{mail_id}",
        handler=get_mail,
        summary="Read a mail that was written to a file",
        right=OWNERSHIP,
        answer=OpenMailboxMail,
    ),
)
