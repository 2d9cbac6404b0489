"""What owners are told, and the letters that let people in."""

from html import unescape
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from backend.delivery.attempts import (
    ACCOUNT_INVITATION,
    ACCOUNT_SIGN_IN,
    FORM_SILENT,
    FORM_UNSUBSCRIBED,
    QUOTA_REACHED,
    WEBHOOK_DISABLED,
    Verdict,
)
from backend.management import Services
from backend.sealing import Sealer
from tests.backend.builders import Account, add_form
from tests.backend.mail_builders import (
    ORIGIN,
    attempted,
    mail_about,
    mail_of,
    mailing,
    parts_of,
)
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio

NOTICES = {
    QUOTA_REACHED: (
        {"percent": 80, "used": 800, "limit": 1000, "month": "2026-06"},
        ["80 %", "800 of the 1000", "2026-06"],
    ),
    WEBHOOK_DISABLED: (
        {"webhook_id": "wh_1", "host": "example.com", "reason": "It answered 410 Gone."},
        ["wh_1", "example.com", "It answered 410 Gone."],
    ),
    FORM_SILENT: (
        {"form_name": "Shop & Co", "days": 9, "since": "2026-06-10T00:00:00.000Z"},
        ["9 days", "10 June 2026", "Shop & Co"],
    ),
    FORM_UNSUBSCRIBED: (
        {"address": "ada@example.com", "form_name": "Shop"},
        ["ada@example.com", "Shop", "frm_1"],
    ),
}


@pytest.mark.parametrize("event", NOTICES)
async def test_a_notice_to_an_owner(services: Services, account: Account, event: str) -> None:
    details, expected = NOTICES[event]
    form = await add_form(services, account)
    delivery = mail_about(
        form, None, event=event, details=details, recipient="o@example.com", form_id="frm_1"
    )
    message = await mail_of(services, form, delivery)
    assert (message["To"], message["From"]) == ("o@example.com", "FormFlow <forms@example.com>")
    text, page = parts_of(message)
    assert message["Subject"] in text
    for part in (text, unescape(page)):
        for words in expected:
            assert words in part
        assert "{" not in part.partition("<body")[2]


@pytest.mark.parametrize(
    ("event", "details", "lasts"),
    [
        (ACCOUNT_SIGN_IN, {"link": f"{ORIGIN}/sign-in?token=a&b=c", "minutes": 15}, 15 * 60),
        (
            ACCOUNT_INVITATION,
            {
                "link": f"{ORIGIN}/invitation?token=a&b=c",
                "hours": 48,
                "account_name": "Win at evil.example",
                "invited_by": "eve@example.net",
            },
            48 * 3600,
        ),
    ],
)
async def test_a_letter_that_lets_somebody_in(
    services: Services,
    account: Account,
    clock: ManualClock,
    event: str,
    details: dict[str, Any],
    lasts: float,
) -> None:
    form = await add_form(services, account)
    settings = mailing(services).settings
    sealed = {"sealed": Sealer(settings).seal(orjson.dumps(details).decode())}
    delivery = mail_about(
        form, None, event=event, details=sealed, recipient="o@x.de", created_at=clock.now_ms()
    )
    clock.advance(lasts - 1)
    message = await mail_of(services, form, delivery)
    text, page = parts_of(message)
    assert details["link"] in text
    assert f'href="{details["link"].replace("&", "&amp;")}"' in page
    assert "evil.example" not in "".join([message["Subject"], text, page])
    other = await attempted(services, delivery, secret_key=SecretStr("another-secret-key-of-16"))
    assert (other.verdict, other.error) == (
        Verdict.REFUSED,
        "FORMFLOW_SECRET_KEY is not what it was.",
    )
    clock.advance(1)
    late = await attempted(services, delivery)
    assert late.verdict is Verdict.OBSOLETE


async def test_an_event_that_no_mail_is_about_is_refused(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    attempt = await attempted(services, mail_about(form, None, event="moon.risen"))
    assert attempt.verdict is Verdict.REFUSED
