"""The bodies and answers of API keys."""

from ipaddress import IPv6Network, ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from backend.access import RIGHTS
from backend.api_limits import BURST
from backend.keys.store import KeyRow
from backend.keys.terms import KeyStatus, status_of
from backend.operations import Body
from backend.paging import Page
from backend.plans.catalogue import Plan
from backend.schemas import Label, Moment, Time, parse_moment, without_defaults
from contracts.ids import is_id
from contracts.keys import KeyKind
from contracts.runtime.clock import iso

GRACE_HOURS_MAX = 168
_ITEMS_MAX = 100
_KEY_CHARACTERS_MAX = 200


def _known_scope(text: str) -> str:
    if text not in RIGHTS:
        raise PydanticCustomError("unknown_scope", "There is no such scope.")
    return text


def _network(text: str) -> str:
    """The network as CIDR, an IPv4 one mapped into IPv6 as IPv4, without bits of hosts."""
    try:
        network = ip_network(text, strict=False)
        if isinstance(network, IPv6Network):
            mapped = network.network_address.ipv4_mapped
            if mapped is not None and network.prefixlen >= 96:
                network = ip_network(f"{mapped}/{network.prefixlen - 96}")
    except ValueError:
        raise PydanticCustomError(
            "bad_network", "Give an address or a network: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32"
        ) from None
    return str(network)


def _form_id(text: str) -> str:
    if not is_id(text, "frm"):
        raise PydanticCustomError("bad_id", "Give the id of a form, frm_…")
    return text


Scope = Annotated[
    str,
    AfterValidator(_known_scope),
    WithJsonSchema({"type": "string", "enum": sorted(RIGHTS)}),
]
AllowedNetwork = Annotated[str, AfterValidator(_network), Field(max_length=64)]
FormId = Annotated[str, AfterValidator(_form_id)]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=len(RIGHTS))]
AllowedIps = Annotated[list[AllowedNetwork], Field(min_length=1, max_length=_ITEMS_MAX)]
AllowedForms = Annotated[list[FormId], Field(min_length=1, max_length=_ITEMS_MAX)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
Burst = Annotated[int, Field(ge=1, le=10_000)]


class _Terms(Body):
    scopes: Scopes | None = Field(
        None,
        description="What the key may. `live` and `test` keys need at least one; a management key "
        "without any may everything; a submission key has none.",
        examples=[["submissions:read", "submissions:write"]],
    )
    allowed_ips: AllowedIps | None = Field(
        None,
        description="The addresses and networks (CIDR) it may be used from; null for any.",
        examples=[["192.0.2.0/24", "2001:db8::/32"]],
    )
    allowed_forms: AllowedForms | None = Field(
        None, description="The ids of the forms it may be used for; null for all."
    )
    rate_limit_per_minute: PerMinute | None = Field(
        None, description="Requests in any 60 s, at most the plan's; null for the plan's."
    )
    burst: Burst | None = Field(None, description=f"Requests in any second; null for {BURST}.")
    expires_at: Moment | None = Field(
        None,
        description="When it ends by itself, in two years at most; null for never. A test key ends "
        "after 7 days at most.",
    )

    def named_terms(self) -> dict[str, Any]:
        """The members that the request names, as a key's row has them."""
        terms = {name: getattr(self, name) for name in self.model_fields_set}
        for name in ("scopes", "allowed_ips", "allowed_forms"):
            if terms.get(name) is not None:
                terms[name] = tuple(dict.fromkeys(terms[name]))
        if terms.get("expires_at") is not None:
            terms["expires_at"] = parse_moment(terms["expires_at"])
        return terms


class NewApiKey(_Terms):
    """A key to create."""

    name: Label = Field(description="What the key is for.", examples=["website server"])
    kind: Literal["submission", "management", "live", "test"] = Field(
        description="`submission`: may post to the account's forms. `management`: may use this "
        "API. `live`: may what its `scopes` say, in production. `test`: the same, on forms of "
        "`mode: test` only, for 7 days."
    )
    environment: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="The environment whose forms it may be used for; null for all. Live keys "
        "belong to `production`.",
    )


class ApiKeyChanges(_Terms):
    """What to change of a key: the members that are named."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    name: Label = Field("", description="What the key is for.")


class Rotation(Body):
    """How to rotate a key."""

    grace_hours: int = Field(
        24,
        ge=0,
        le=GRACE_HOURS_MAX,
        description="How long the old key goes on. With 0 it ends at once.",
    )


class LeakedKey(Body):
    """A key that somebody found where it should not be."""

    key: Annotated[str, Field(min_length=1, max_length=_KEY_CHARACTERS_MAX)] = Field(
        description="The full key."
    )


class Accepted(BaseModel):
    """The report was taken. Whether there is such a key is not told."""

    status: Literal["accepted"] = "accepted"


class ApiKey(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    kind: KeyKind
    prefix: str = Field(description="The first characters, to recognise the key by.")
    status: KeyStatus = Field(
        description="`grace`: another has replaced the key, which goes on until it expires."
    )
    scopes: list[str] | None = Field(description="What it may; null for all that its kind may.")
    environment: str | None = Field(description="Null for all environments.")
    allowed_ips: list[str] | None
    allowed_forms: list[str] | None
    rate_limit_per_minute: int = Field(description="Requests in any 60 s.")
    burst: int = Field(description="Requests in any second.")
    created_by: str | None = Field(
        description="The key or user that created it; null for the command line."
    )
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None = Field(description="Up to a minute late.")
    revoked_at: Time | None
    replaced_by: str | None = Field(description="The key that a rotation put in its place.")

    @classmethod
    def of(cls, row: KeyRow, plan: Plan, now_ms: int, **more: str) -> Self:
        """The answer for a row of an account that has the plan."""
        per_minute = row.rate_limit_per_minute or plan.requests_per_minute
        return cls(
            id=row.id,
            name=row.name,
            kind=KeyKind(row.kind),
            prefix=row.prefix,
            status=status_of(row, now_ms),
            scopes=_list(row.scopes),
            environment=row.environment,
            allowed_ips=_list(row.allowed_ips),
            allowed_forms=_list(row.allowed_forms),
            rate_limit_per_minute=min(per_minute, plan.requests_per_minute),
            burst=row.burst or BURST,
            created_by=row.created_by,
            created_at=iso(row.created_at),
            expires_at=_time(row.expires_at),
            last_used_at=_time(row.last_used_at),
            revoked_at=_time(row.revoked_at),
            replaced_by=row.replaced_by,
            **more,
        )


class CreatedApiKey(ApiKey):
    """A key just created: the only answer that shows it in full."""

    key: str = Field(description="The full key. It is not shown again.")


class ApiKeyList(Page[ApiKey]):
    """A page of keys."""


def _list(items: tuple[str, ...] | None) -> list[str] | None:
    return None if items is None else list(items)


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else iso(unix_ms)
