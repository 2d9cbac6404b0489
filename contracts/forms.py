"""What a gateway needs to know of a form and of a key to judge a post."""

from dataclasses import dataclass
from enum import Enum


class FormStatus(Enum):
    """Whether a form takes posts."""

    LIVE = "live"
    PAUSED = "paused"
    DRAFT = "draft"


@dataclass(frozen=True, slots=True)
class FormConfig:
    """One form as the gateway sees it: immutable, complete, one look-up a post.

    ``honeypot_field`` is None when the trap is off. ``revision`` is the configuration revision of
    the last change to the form; a document never replaces one of a higher revision.
    """

    id: str
    slug: str
    account_id: str
    revision: int
    name: str
    status: FormStatus
    honeypot_field: str | None
    redirect_url: str | None
    redirect_hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What a verified key may do: post to the forms of ``account_id``."""

    key_id: str
    account_id: str
    revision: int
