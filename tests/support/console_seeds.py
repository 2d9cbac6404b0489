"""What a console of the tests has to show: of everything something in every state."""

from typing import Any

from backend.console.forms.sections import SECTIONS
from tests.support.console import Console
from tests.support.processes import until

_VISITORS = (
    ("Ada Lovelace", "ada@example.com", "Can your engine also weave flowers and leaves?"),
    ("Grace Hopper", "grace@example.com", "I found a moth in relay 70. A photo is attached."),
    ("Zoë Müller", "zoe@example.org", "Grüße aus Köln – I would like an offer for 40 seats."),
    ("山田太郎", "taro@example.jp", "お問い合わせありがとうございます。"),
    ("Ole Nordmann", "ole@example.no", "Is there a discount for schools?\nWe have two classes."),
    ("Sam Rivera", "sam@example.com", "See https://example.com/reports/2026 for the figures."),
)


def seed(console: Console) -> None:
    """Makes forms, submissions, webhooks, deliveries, keys, members, environments, sessions, mails
    and, by all that, events of the audit log: of each something in every state."""
    _seed_forms(console)
    _seed_submissions(console)
    _seed_webhooks(console)
    _seed_keys(console)
    _seed_members(console)
    console.sign_in()
    note_what_there_is(console)


def note_what_there_is(console: Console) -> None:
    """Takes note of what came to be by itself: deliveries, events, mails, sessions."""
    seeds, ask = console.seeds, console.api
    events: dict[str, str] = {}
    for event in ask("GET", "/audit-log", params={"limit": 100})["data"]:
        events.setdefault(event["action"], event["id"])
    seeds.add("event_id", *events.values())
    mails: dict[str, str] = {}
    for mail in ask("GET", "/mailbox", params={"limit": 100})["data"]:
        mails.setdefault(mail["subject"], mail["id"])
    seeds.add("mail_id", *mails.values())
    for submission_id in seeds.ids["submission_id"]:
        for delivery in ask("GET", f"/submissions/{submission_id}")["deliveries"]:
            seeds.add("delivery_id", delivery["id"])
    with console.client() as owner:
        owner.headers["authorization"] = f"Bearer {console.token}"
        sessions = owner.get("/v1/auth/sessions").raise_for_status().json()["data"]
    seeds.add("session_id", *(each["id"] for each in sessions if not each["current"]))


def _seed_forms(console: Console) -> None:
    ask, seeds = console.api, console.seeds
    seeds.add("environment_id", ask("POST", "/environments", json={"name": "preview"})["id"])
    often = {"rate_limit_per_minute": 100_000, "notify_emails": "team@example.com"}
    forms: tuple[dict[str, Any], ...] = (
        {
            "name": "Contact",
            "slug": "contact",
            "autoresponse_enabled": True,
            "autoresponse_subject": "We have got your message",
            "autoresponse_message": "Thank you, {{field.name}}. We write back within a day.",
        },
        {
            "name": "Job applications",
            "slug": "jobs",
            "notify_emails": "hr@example.com, ada@example.com",
            "enforce_fields": True,
            "fields": [
                {"name": "name", "type": "text", "required": True, "max_length": 80},
                {"name": "email", "type": "email", "required": True, "label": "E-mail"},
                {"name": "team", "type": "select", "options": ["engineering", "sales"]},
                {"name": "cv", "type": "file"},
            ],
        },
        {
            "name": "Event sign-up",
            "slug": "event",
            "turnstile_enabled": True,
            "turnstile_site_key": "1x00000000000000000000AA",
            "turnstile_secret": "1x0000000000000000000000000000000AA",
            "turnstile_on_outage": "hold",
            "allowed_origins": ["https://www.example.com"],
            "redirect_url": "https://www.example.com/thanks",
            "redirect_hosts": ["www.example.com"],
            "retention_days": 90,
        },
        {"name": "Newsletter", "slug": "newsletter", "status": "paused"},
        {"name": "Survey 2027", "slug": "survey", "status": "draft", "environment": "preview"},
        {"name": "Try-out", "slug": "try-out", "mode": "test"},
    )
    for form in forms:
        seeds.add("form_id", ask("POST", "/forms", json=often | form)["id"])
    sections = [section.name for section in SECTIONS if section.name != "fields"]
    contact, _, event, *_ = seeds.ids["form_id"]
    seeds.pairs["form_id", "section"] = [(id, name) for id in (contact, event) for name in sections]


def _seed_submissions(console: Console) -> None:
    seeds, agent = console.seeds, "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Firefox/144.0"
    headers = {"user-agent": agent, "referer": "https://www.example.com/contact?from=menu"}
    submission_ids = [
        console.post(
            "contact",
            headers,
            data={
                "name": name,
                "email": email,
                "message": message,
                "topic": ["sales", "support"],
                "website": "https://example.com/",
            },
        )
        for name, email, message in _VISITORS
    ]
    console.post("contact", headers, data={"name": "Buy now", "_gotcha": "x"})
    applicant = {"name": "Grace Hopper", "email": "grace@example.com", "team": "engineering"}
    cv = {"cv": ("Lebenslauf – Grace.pdf", b"%PDF-1.7", "application/pdf")}
    with_file = console.post("jobs", headers, data=applicant, files=cv)
    held = console.post(
        "event",
        {"origin": "https://www.example.com"},
        data={"email": "ole@example.no", "cf-turnstile-response": "token"},
    )
    spam = console.api("GET", "/submissions", params={"status": "spam"})["data"]
    console.api("PATCH", f"/submissions/{submission_ids[0]}", json={"read": True})
    seeds.add("submission_id", submission_ids[-1], with_file, held, spam[0]["id"])
    [file] = console.api("GET", f"/submissions/{with_file}")["files"]
    seeds.pairs["submission_id", "file_id"] = [(with_file, file["id"])]


def _seed_webhooks(console: Console) -> None:
    ask, seeds = console.api, console.seeds
    contact = seeds.ids["form_id"][0]
    hooks: tuple[dict[str, Any], ...] = (
        {"url": f"{console.receiver}/ok", "headers": {"Authorization": "Bearer abc"}},
        {"url": f"{console.receiver}/fail"},
        {"url": f"{console.receiver}/gone"},
        {"url": "https://hooks.slack.com/services/T0/B0/x", "format": "slack", "enabled": False},
    )
    for hook in hooks:
        made = ask("POST", f"/forms/{contact}/webhooks", json=hook)
        seeds.add("webhook_id", made["id"])
    well, failing, *_ = seeds.ids["webhook_id"]
    ask("POST", f"/webhooks/{well}/test")
    ask("POST", f"/webhooks/{failing}/rotate-secret")
    submission = console.post("contact", data={"name": "Alan Turing", "email": "alan@example.com"})
    seeds.add("submission_id", submission)
    until(lambda: _is_settled(console, submission))
    tests = ask("GET", f"/webhooks/{well}/deliveries")["data"]
    seeds.add("delivery_id", *(delivery["id"] for delivery in tests))
    seeds.pairs["submission_id", "delivery_id"] = [(submission, tests[0]["id"])]
    seeds.add("number", "1")


def _is_settled(console: Console, submission_id: str) -> bool:
    """Whether everything that a submission is told to has been."""
    deliveries = console.api("GET", f"/submissions/{submission_id}")["deliveries"]
    return bool(deliveries) and all(each["status"] != "pending" for each in deliveries)


def _seed_keys(console: Console) -> None:
    ask, seeds = console.api, console.seeds
    keys: tuple[dict[str, Any], ...] = (
        {"name": "website server", "kind": "submission"},
        {"name": "nightly report", "kind": "management", "scopes": ["submissions:read"]},
        {
            "name": "shop",
            "kind": "live",
            "scopes": ["forms:read", "submissions:write"],
            "allowed_ips": ["192.0.2.0/24"],
            "allowed_forms": [seeds.ids["form_id"][0]],
        },
        {"name": "try-out", "kind": "test", "scopes": ["submissions:write"]},
        {"name": "old server", "kind": "submission"},
    )
    made = [ask("POST", "/api-keys", json=key)["id"] for key in keys]
    ask("DELETE", f"/api-keys/{made[-1]}")
    rotated = ask("POST", f"/api-keys/{made[0]}/rotate", json={"grace_hours": 24})
    seeds.add("key_id", *made, rotated["id"])


def _seed_members(console: Console) -> None:
    ask, seeds = console.api, console.seeds
    some = {"permissions": ["forms:read", "submissions:read"]}
    seeds.add("member_id", *(each["id"] for each in ask("GET", "/members")["data"]))
    for email, grant in (
        ("grace@example.com", {"role": "editor"}),
        ("alan@example.com", some),
        ("mallory@example.net", {"role": "viewer"}),
    ):
        invited = ask("POST", "/members", json={"email": email, **grant})
        seeds.add("member_id", invited["id"])
        if email.startswith("grace"):
            with console.product.client() as visitor:
                body = {"token": invited["invitation"]}
                visitor.post("/v1/invitations/accept", json=body).raise_for_status()
