"""What the console says for what the API has names for: nothing is left without words."""

import pytest

from backend.access import RIGHTS
from backend.audit.actions import MEANINGS
from backend.audit.schemas import Actor, Event
from backend.console.audit_words import GROUPS, PHRASES, Sentence, action_choices, sentence_of
from backend.console.formats import browser
from backend.console.rights import WORDS, groups_of

FORM = "frm_01jz8q6v4mq0c3e5r7t9w1y2a4"


def event(action: str, target: str | None = FORM, **details: object) -> Event:
    return Event(
        id="evt_01jz8q6v4mq0c3e5r7t9w1y2a4",
        actor=Actor(kind="user", id="usr_01jz8q6v4mq0c3e5r7t9w1y2a4", name="ada@example.com"),
        action=action,
        target=target,
        outcome="succeeded",
        address="192.0.2.1",
        user_agent=None,
        details=details,
        count=1,
        occurred_at="2026-06-10T10:23:00.000Z",
    )


def text_of(sentence: Sentence) -> str:
    return f"{sentence.actor} {sentence.before}{sentence.target}{sentence.after}"


def test_every_right_has_its_words() -> None:
    assert WORDS.keys() == RIGHTS
    grouped = [name for group in groups_of(RIGHTS) for name, _ in group.rights]
    assert sorted(grouped) == sorted(RIGHTS)


def test_every_action_is_a_sentence_and_can_be_chosen() -> None:
    assert PHRASES.keys() == MEANINGS.keys()
    assert GROUPS.keys() == {action.partition(".")[0] for action in MEANINGS}
    chosen = [name for choice in action_choices() for name, _ in choice.actions]
    assert sorted(chosen) == sorted(MEANINGS)


@pytest.mark.parametrize("action", sorted(MEANINGS))
def test_a_sentence_has_no_holes_whatever_is_known(action: str) -> None:
    for shown in (event(action), event(action, None), event(action, "ff_mgmt_0123", reason="?")):
        assert not set("{}[]\0") & set(text_of(sentence_of(shown, {})))


@pytest.mark.parametrize(
    ("shown", "says", "page"),
    [
        (event("form.changed", members=["name"]), "changed the form Contact: name", "/forms/"),
        (event("form.deleted", name="Old"), "deleted the form Contact and all that", None),
        (
            event("submissions.changed", None, count=3, status="spam"),
            "marked several submissions (3) as spam",
            None,
        ),
        (event("submission.changed", "sub_1", read=False), "sub_1 as unread", "/submissions/"),
        (
            event("member.invited", "usr_1", email="b@example.com", role="editor"),
            "invited b@example.com as editor",
            "/members/",
        ),
        (
            event("member.changed", "usr_1", role="custom"),
            "now member with chosen rights",
            "/members/",
        ),
        (
            event("key.rotated", "key_1", grace_hours=24),
            "the old one works for 24 more hours",
            "/api-keys/",
        ),
        (
            event("credential.refused", "ff_mgmt_0123", reason="revoked"),
            "was refused with ff_mgmt_0123…: the key has been",
            None,
        ),
        (event("webhook.disabled", "wh_1", reason="410"), "webhook wh_1: 410", "/webhooks/"),
        (event("delivery.replayed", "whd_1", count=2), "again (2) of whd_1", "/deliveries/"),
    ],
)
def test_an_event_says_who_did_what_to_what(shown: Event, says: str, page: str | None) -> None:
    sentence = sentence_of(shown, {FORM: "Contact"})
    assert text_of(sentence).startswith("ada@example.com ")
    assert says in text_of(sentence)
    assert sentence.page == (page and f"{page}{shown.target}")


def test_what_somebody_wrote_is_no_part_of_the_phrase() -> None:
    sentence = sentence_of(event("form.changed", members=["{target}", "[x]"]), {FORM: "{count}"})
    assert text_of(sentence) == "ada@example.com changed the form {count}: {target}, [x]"


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/120.0 Safari/537.36", "Chrome on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/120.0 Safari/537.36 Edg/120.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Safari/604.1", "Safari on iOS"),
        ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/119.0", "Firefox on Linux"),
        ("curl/8.5.0", "curl/8.5.0"),
        (None, "unknown"),
    ],
)
def test_a_browser_is_called_by_its_name(agent: str | None, says: str) -> None:
    assert browser(agent) == says
