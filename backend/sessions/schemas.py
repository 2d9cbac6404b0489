"""What the API takes and says of signing in and of sessions."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StringConstraints

from backend.operations import Body
from backend.paging import Page
from backend.schemas import EmailAddress, Time
from backend.sessions.beginning import NewSession
from backend.sessions.store import SessionRow, SignedIn
from contracts.runtime.clock import iso


class WantedLink(Body):
    """Who wants to sign in."""

    email: EmailAddress = Field(examples=["ada@example.com"])


class LinkOnItsWay(BaseModel):
    """The link is mailed, if the address is a member's. Whether it is, is not told."""

    status: Literal["accepted"] = "accepted"


class PresentedLink(Body):
    """The link that came by mail."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="The `token` of its query.", examples=["ff_link_…"]
    )


class User(BaseModel):
    """Who is signed in."""

    id: str = Field(examples=["usr_01jz8q6v4mq0c3e5r7t9w1y2a4"])
    email: str
    role: str = Field(description="`custom` with an explicit list of permissions.")
    permissions: list[str] = Field(description="What the member may do.")


class SignedInAccount(BaseModel):
    """The account of whoever is signed in."""

    id: str = Field(examples=["acc_01jz8q6v4mq0c3e5r7t9w1y2a4"])
    name: str


class CurrentSession(BaseModel):
    """A session, and who is signed in with it."""

    id: str = Field(examples=["ses_01jz8q6v4mq0c3e5r7t9w1y2a4"])
    user: User
    account: SignedInAccount
    created_at: Time
    expires_at: Time = Field(
        description="Its end, 7 days after it began; it ends before if it is not used for an hour."
    )

    @classmethod
    def of(cls, found: SignedIn, **more: Any) -> Self:
        """The answer for a session."""
        session, user = found.session, found.user
        return cls(
            id=session.id,
            user=User(
                id=user.id, email=user.email, role=user.role, permissions=sorted(user.rights)
            ),
            account=SignedInAccount(id=user.account_id, name=user.account_name),
            created_at=iso(session.created_at),
            expires_at=iso(session.expires_at),
            **more,
        )


class BegunSession(CurrentSession):
    """A session that has just begun: the only answer that shows its token."""

    token: str = Field(
        description="The credential: `Authorization: Bearer ff_ses_…`. Not shown again.",
        examples=["ff_ses_…"],
    )

    @classmethod
    def begun(cls, new: NewSession) -> Self:
        """The answer for a new session."""
        return cls.of(SignedIn(new.session, new.user), token=new.token)


class Session(BaseModel):
    """One of the sessions of whoever asks."""

    id: str = Field(examples=["ses_01jz8q6v4mq0c3e5r7t9w1y2a4"])
    current: bool = Field(description="Whether it is the one that asks.")
    address: str | None = Field(description="Where it was begun.")
    user_agent: str | None = Field(description="With what it was begun.")
    created_at: Time
    last_seen_at: Time
    expires_at: Time

    @classmethod
    def of(cls, row: SessionRow, last_seen_at: int, current_id: str | None) -> Self:
        """The answer for a row."""
        return cls(
            id=row.id,
            current=row.id == current_id,
            address=row.address,
            user_agent=row.user_agent,
            created_at=iso(row.created_at),
            last_seen_at=iso(last_seen_at),
            expires_at=iso(row.expires_at),
        )


class SessionList(Page[Session]):
    """A page of sessions."""
