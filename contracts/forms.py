"""What a gateway needs to know of a form and of a key to judge a post."""

from dataclasses import dataclass
from enum import Enum

from contracts.fields import DeclaredField


class FormStatus(Enum):
    """Whether a form takes posts."""

    LIVE = "live"
    PAUSED = "paused"
    DRAFT = "draft"


class TurnstileOnOutage(Enum):
    """What becomes of a post while Turnstile cannot be asked."""

    REFUSE = "refuse"
    HOLD = "hold"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class TurnstileConfig:
    """A form's Turnstile check; ``secret`` stays out of every representation."""

    secret: str
    on_outage: TurnstileOnOutage
    skip_with_key: bool

    def __repr__(self) -> str:
        return f"TurnstileConfig(on_outage={self.on_outage}, skip_with_key={self.skip_with_key})"


@dataclass(frozen=True, slots=True)
class FormConfig:
    """One form as the gateway sees it: immutable, complete, one look-up a post.

    ``honeypot_field`` is None when the trap is off, ``turnstile`` when that check is.
    ``file_bytes`` is the plan's limit for one file, 0 for no uploads; ``has_quota`` says whether
    the plan limits the submissions of a month. ``revision`` is the configuration revision of the
    last change to the form; a document never replaces one of a higher revision. ``fields`` are the
    declared fields that a post must fit; none are enforced if it is empty.
    """

    id: str
    slug: str
    account_id: str
    revision: int
    name: str
    status: FormStatus
    is_test: bool
    honeypot_field: str | None
    redirect_url: str | None
    redirect_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    rate_limit_per_minute: int
    idempotency_strict: bool
    turnstile: TurnstileConfig | None
    file_bytes: int
    has_quota: bool = True
    fields: tuple[DeclaredField, ...] = ()
    environment: str = "production"


@dataclass(frozen=True, slots=True)
class KeyRestrictions:
    """What a key is restricted to; None is no restriction. ``expires_at`` is Unix milliseconds.

    ``allowed_ips`` are the networks (CIDR) that it may be used from, ``allowed_forms`` the ids of
    the forms it may be used for; with ``is_test`` those of ``mode: test`` only.
    """

    allowed_ips: tuple[str, ...] | None = None
    allowed_forms: tuple[str, ...] | None = None
    environment: str | None = None
    is_test: bool = False
    expires_at: int | None = None


UNRESTRICTED = KeyRestrictions()


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What a verified key may do: post to the forms of ``account_id``, at most
    ``rate_limit_per_minute`` times in any 60 s and ``burst`` times in any second.

    ``restrictions`` is None for a key that has none. A backend gives none of the others to a
    gateway that does not say that it heeds them.
    """

    key_id: str
    account_id: str
    revision: int
    rate_limit_per_minute: int
    burst: int
    restrictions: KeyRestrictions | None = None


@dataclass(frozen=True, slots=True)
class QuotaState:
    """An account's monthly quota that is used up; ``resets_at`` is Unix milliseconds."""

    limit: int
    used: int
    resets_at: int
