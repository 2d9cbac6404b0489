"""The mailbox: mails that were written to files because there is no mail server.

What is in a mail, visitors have written. Its HTML is shown in a frame that runs nothing, loads
nothing, and is of no origin: the browser is told so twice, by the frame and by the answer.
"""

from urllib.parse import urlencode

from starlette.responses import Response

from backend.console.pages import Page
from backend.console.paging import page_links, page_query
from backend.console.rendering import CONTENT_SECURITY_POLICY, SECURITY_HEADERS
from backend.console.submissions.texts import pieces_of
from backend.console.visits import Visit
from backend.mail.mailbox_routes import MailboxPage, OpenMailboxMail

_MAILS = ("GET", "/v1/mailbox")
_MAIL = ("GET", "/v1/mailbox/{mail_id}")
_FRAMING_POLICY = f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"
MAIL_POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"
)


async def show_mailbox(visit: Visit) -> Response:
    return await _shown(visit, None)


async def show_mail(visit: Visit) -> Response:
    return await _shown(visit, await visit.api.ask(OpenMailboxMail, *_MAIL, at=visit.path))


async def show_html(visit: Visit) -> Response:
    """The HTML of a mail alone, for the frame."""
    mail = await visit.api.ask(OpenMailboxMail, *_MAIL, at=visit.path)
    response = Response(mail.html, headers=SECURITY_HEADERS, media_type="text/html")
    response.headers["Content-Security-Policy"] = MAIL_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


async def _shown(visit: Visit, mail: OpenMailboxMail | None) -> Response:
    cursor = visit.query.get("cursor")
    mails = await visit.api.ask(MailboxPage, *_MAILS, query=page_query(visit))
    response = visit.render(
        "mailbox_page.html",
        mails=mails.data,
        is_written=visit.services.mailbox is not None,
        mail=mail,
        text=pieces_of(mail.text) if mail else [],
        as_text=visit.query.get("as") == "text",
        page=urlencode({"cursor": cursor}) if cursor else "",
        **page_links(visit, mails.next_cursor),
    )
    response.headers["Content-Security-Policy"] = _FRAMING_POLICY
    return response


pages = (
    Page(method="GET", path="/mailbox", handler=show_mailbox, uses=(_MAILS,)),
    Page(method="GET", path="/mailbox/{mail_id}", handler=show_mail, uses=(_MAILS, _MAIL)),
    Page(method="GET", path="/mailbox/{mail_id}/html", handler=show_html, uses=(_MAIL,)),
)
