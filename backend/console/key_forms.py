"""What a form of the console says of an API key, and the bodies that this means to the API. Its
fields are called as the API's members are, so that what is wrong with one stands beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from backend.access import RIGHTS
from backend.answers import invalid
from backend.console.visits import Visit
from backend.keys.schemas import ApiKey
from contracts.runtime.clock import iso

_DAY_MS = 24 * 3600 * 1000
_NUMBER_DIGITS_MAX = 9
KINDS = (
    (
        "submission",
        "Submission key",
        "Posts to your forms from a server or an app, and reads nothing.",
    ),
    (
        "management",
        "Management key",
        "Uses the management API: for scripts, the command line and your own tools.",
    ),
    ("live", "Live key", "Posts and uses the API as far as you say, in production only."),
    (
        "test",
        "Test key",
        "The same for forms in test mode only. It ends after 7 days at most.",
    ),
)
ALL, READ, CUSTOM = "all", "read", "custom"
ACCESS = (
    (ALL, "Everything", "All that you may do yourself."),
    (READ, "Read everything", "Looks at all there is, and changes nothing."),
    ("inbox", "Read and export submissions", "For a spreadsheet, a report, another system."),
    ("post", "Post and file submissions", "For a server that sends, marks or imports them."),
    (CUSTOM, "What I tick", "Right by right."),
)
_PRESETS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        READ: frozenset(right for right in RIGHTS if right.endswith(":read")),
        "inbox": frozenset({"forms:read", "forms:export", "submissions:read"}),
        "post": frozenset({"submissions:write"}),
    }
)
KEEP, NEVER, ON_DAY = "keep", "never", "day"
ENDS = (
    (NEVER, "Never"),
    ("1", "In a day"),
    ("7", "In 7 days"),
    ("30", "In 30 days"),
    ("90", "In 90 days"),
    ("365", "In a year"),
    (ON_DAY, "On a day of my choice"),
)
AS_IT_IS = (KEEP, "As it is")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyForm:
    """The fields as they stand in the form."""

    name: str = ""
    kind: str = "submission"
    access: str = READ
    scopes: frozenset[str] = frozenset()
    environment: str = ""
    allowed_ips: str = ""
    allowed_forms: tuple[str, ...] = ()
    rate_limit_per_minute: str = ""
    burst: str = ""
    ends: str = NEVER
    expires_at: str = ""

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """The form that changes a key, before anything is changed."""
        return cls(
            name=key.name,
            kind=key.kind.value,
            access=ALL if key.scopes is None else CUSTOM,
            scopes=frozenset(key.scopes or ()),
            allowed_ips="\n".join(key.allowed_ips or ()),
            allowed_forms=tuple(key.allowed_forms or ()),
            rate_limit_per_minute=str(key.rate_limit_per_minute),
            burst=str(key.burst),
            ends=NEVER if key.expires_at is None else KEEP,
        )

    @classmethod
    def sent(cls, visit: Visit, kind: str) -> Self:
        """The form as somebody has sent it, for a key of that kind."""
        listed = [*_texts(visit, "allowed_forms"), *visit.text("further_forms").split()]
        return cls(
            name=visit.text("name"),
            kind=kind,
            access=visit.text("access") or READ,
            scopes=frozenset(_texts(visit, "scopes")),
            environment=visit.text("environment"),
            allowed_ips=visit.text("allowed_ips"),
            allowed_forms=tuple(dict.fromkeys(listed)),
            rate_limit_per_minute=visit.text("rate_limit_per_minute"),
            burst=visit.text("burst"),
            ends=visit.text("ends") or NEVER,
            expires_at=visit.text("expires_at"),
        )

    def new_key(self, rights: frozenset[str], now_ms: int) -> dict[str, Any]:
        """The body that creates the key; ``rights`` are its creator's. What is left open is not
        named: the key has it from its creator. Raises Rejected(VALIDATION_ERROR)."""
        named = self._terms(rights, now_ms).items()
        terms = {name: value for name, value in named if value is not None}
        if self.environment:
            terms["environment"] = self.environment
        return {"kind": self.kind, **terms, "name": self.name}

    def changes(self, key: ApiKey, rights: frozenset[str], now_ms: int) -> dict[str, Any]:
        """The body that changes the key: what is otherwise than it is. Raises
        Rejected(VALIDATION_ERROR)."""
        changed = {
            name: value
            for name, value in self._terms(rights, now_ms).items()
            if _comparable(value) != _comparable(getattr(key, name))
        }
        if self.ends == KEEP:
            changed.pop("expires_at", None)
        return changed

    @property
    def _takes_scopes(self) -> bool:
        return self.kind != "submission"

    def _terms(self, rights: frozenset[str], now_ms: int) -> dict[str, Any]:
        terms = {
            "name": self.name,
            "allowed_ips": self.allowed_ips.replace(",", " ").split() or None,
            "allowed_forms": list(self.allowed_forms) or None,
            "rate_limit_per_minute": _number(self.rate_limit_per_minute),
            "burst": _number(self.burst),
            "expires_at": self._end(now_ms),
        }
        if self._takes_scopes:
            terms["scopes"] = self._scopes(rights)
        return terms

    def _scopes(self, rights: frozenset[str]) -> list[str] | None:
        if self.access == CUSTOM:
            return sorted(self.scopes)
        if self.access in _PRESETS:
            return sorted(_PRESETS[self.access] & rights)
        is_unbounded = self.kind == "management" and rights >= RIGHTS
        return None if is_unbounded else sorted(rights & RIGHTS)

    def _end(self, now_ms: int) -> str | None:
        if self.ends == ON_DAY:
            if not self.expires_at:
                raise invalid("expires_at", "missing", "Name the day.")
            return f"{self.expires_at}T23:59:59Z"
        return iso(now_ms + int(self.ends) * _DAY_MS) if self.ends in _DAYS else None


_DAYS = frozenset(key for key, _ in ENDS if key.isdecimal())


def _texts(visit: Visit, name: str) -> list[str]:
    return [value for value in visit.form.getlist(name) if isinstance(value, str)]


def _number(text: str) -> int | str | None:
    """The number; what is none is left for the API to refuse."""
    is_number = text.isdecimal() and len(text) <= _NUMBER_DIGITS_MAX
    return int(text) if is_number else text or None


def _comparable(value: Any) -> Any:
    return frozenset(value) if isinstance(value, list) else value
