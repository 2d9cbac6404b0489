"""What the API takes and says of members."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from backend.access import RIGHTS
from backend.accounts.roles import CUSTOM, Grant
from backend.api import Body
from backend.members.store import MemberRow
from backend.paging import Page
from backend.schemas import EmailAddress, Time, without_defaults
from backend.sessions.schemas import BegunSession
from contracts.runtime.clock import iso


def _right(text: str) -> str:
    if text not in RIGHTS:
        raise PydanticCustomError("unknown_right", "There is no such permission.")
    return text


Role = Literal["owner", "admin", "editor", "viewer"]
Right = Annotated[
    str, AfterValidator(_right), WithJsonSchema({"type": "string", "enum": sorted(RIGHTS)})
]
Permissions = Annotated[
    list[Right],
    Field(
        max_length=len(RIGHTS),
        description="What the member may do, instead of a role.",
        examples=[["forms:read", "submissions:read"]],
    ),
]


def _not_both(schema: dict[str, Any]) -> None:
    without_defaults(schema)
    schema["not"] = {"required": ["role", "permissions"]}


def _one_of_two(schema: dict[str, Any]) -> None:
    without_defaults(schema)
    schema["oneOf"] = [{"required": ["role"]}, {"required": ["permissions"]}]


class ChangeMember(Body):
    """Another role, or a list of permissions; without either nothing changes."""

    model_config = ConfigDict(json_schema_extra=_not_both)

    role: Role | SkipJsonSchema[None] = None
    permissions: Permissions | SkipJsonSchema[None] = None

    @model_validator(mode="after")
    def _is_one_at_most(self) -> Self:
        named, grant = self.model_fields_set & {"role", "permissions"}, self.grant
        if len(named) > 1 or (named and grant is None):
            raise PydanticCustomError(
                "role_or_permissions", "Name either a role or permissions, not both."
            )
        return self

    @property
    def grant(self) -> Grant | None:
        """What the member is to be given, if anything."""
        if self.permissions is not None:
            return Grant(CUSTOM, frozenset(self.permissions))
        return None if self.role is None else Grant(self.role)


class NewMember(ChangeMember):
    """Somebody to invite, with a role or a list of permissions."""

    model_config = ConfigDict(json_schema_extra=_one_of_two)

    email: EmailAddress = Field(examples=["ada@example.com"])

    @property
    def grant(self) -> Grant:
        """What the member is to be given."""
        grant = super().grant
        if grant is None:
            raise PydanticCustomError("role_or_permissions", "Name a role or permissions.")
        return grant


class AcceptInvitation(Body):
    """An invitation to accept."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        examples=["ff_inv_…"]
    )


class Member(BaseModel):
    """A member, or somebody who is invited."""

    id: str
    email: str
    role: Literal["owner", "admin", "editor", "viewer", "custom"] = Field(
        description="`custom` with an explicit list of permissions."
    )
    permissions: list[str] = Field(description="What the member may do.")
    status: Literal["active", "invited"]
    invited_by: str | None = Field(description="The key or user; null for the command line.")
    invitation_expires_at: Time | None
    created_at: Time
    joined_at: Time | None

    @classmethod
    def of(cls, row: MemberRow, **more: Any) -> Self:
        """The answer for a row."""
        return cls.model_validate(_members_of(row) | more)


class InvitedMember(Member):
    """Somebody just invited: the only answer that shows the invitation."""

    invitation: str = Field(description="The token to accept with, for 48 hours. Not shown again.")


class JoinedMember(Member):
    """Somebody who has just accepted an invitation, and is signed in."""

    session: BegunSession


class MemberList(Page[Member]):
    """A page of members."""


def _members_of(row: MemberRow) -> dict[str, Any]:
    is_active = row.joined_at is not None
    expires_at = row.invite_expires_at
    return {
        "id": row.id,
        "email": row.email,
        "role": row.role,
        "permissions": sorted(row.rights),
        "status": "active" if is_active else "invited",
        "invited_by": row.invited_by,
        "invitation_expires_at": None if is_active or expires_at is None else iso(expires_at),
        "created_at": iso(row.created_at),
        "joined_at": None if row.joined_at is None else iso(row.joined_at),
    }
