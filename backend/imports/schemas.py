"""What an import request may hold."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from backend.imports.files import NewFile
from backend.imports.service import OldSubmission
from backend.operations import Body
from backend.schemas import CONTROL_CHARACTERS, Moment, parse_moment
from contracts.runtime.settings import Settings

ITEMS_MAX = 500
# As many as a form of any installation takes.
_FILES_MAX = 100
# RFC 9110, 5.6.2.
_TYPE_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LIMITS = Settings.model_fields
# As a post may have them by default: an import is no way around a form's proportions.
_FIELDS_MAX: int = _LIMITS["max_fields"].default
_NAME_BYTES_MAX: int = _LIMITS["max_name_bytes"].default
_VALUE_BYTES_MAX: int = _LIMITS["max_value_bytes"].default

_CHECKS_MAX = 100
_MICROSECONDS_MAX = 2**53 - 1

Text = Annotated[str, StringConstraints(max_length=2_048)]


def _payload(payload: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    if len(payload) > _FIELDS_MAX:
        raise PydanticCustomError("too_long", f"A submission has {_FIELDS_MAX} fields at most.")
    for name, value in payload.items():
        values = [value] if isinstance(value, str) else value
        if len(name.encode()) > _NAME_BYTES_MAX:
            raise PydanticCustomError(
                "too_long", f"A field's name has {_NAME_BYTES_MAX} bytes at most."
            )
        if any(len(text.encode()) > _VALUE_BYTES_MAX for text in values):
            raise PydanticCustomError(
                "too_long", f"A field's value has {_VALUE_BYTES_MAX} bytes at most."
            )
    return payload


def _not_ancient(text: str) -> str:
    # An id begins with its time, which cannot be before 1970.
    if parse_moment(text) < 0:
        raise PydanticCustomError("bad_timestamp", "Give a time after 1970.")
    return text


class ImportedMeta(Body):
    """What is known of the visitor."""

    ip: Annotated[str, StringConstraints(max_length=64)] | None = None
    user_agent: Text | None = None
    referrer: Text | None = None
    country: Annotated[str, StringConstraints(max_length=64)] | None = None
    charset_guessed: bool | None = None
    probe: bool | None = None


class ImportedCheck(Body):
    """A check that the submission has passed elsewhere."""

    check: Annotated[str, StringConstraints(max_length=200)] = Field(examples=["rate limit"])
    verdict: Text = Field(examples=["admitted"])
    microseconds: int = Field(ge=0, le=_MICROSECONDS_MAX)


class ImportedSubmission(Body):
    """A submission as the other service had it."""

    reference: Annotated[
        str,
        StringConstraints(min_length=1, max_length=200, pattern=f"^[^{CONTROL_CHARACTERS}]+$"),
    ] = Field(
        description="What tells it from every other of its source: the same reference, for the "
        "same form and source, is imported once.",
        examples=["5f8e9c7a2b"],
    )
    received_at: Annotated[Moment, AfterValidator(_not_ancient)] = Field(
        description="When it was posted; not in the future.", examples=["2024-03-01T09:30:00Z"]
    )
    status: Literal["received", "spam", "held"] = "received"
    read: bool = False
    payload: Annotated[dict[str, str | list[str]], AfterValidator(_payload)] = Field(
        description="The visitor's fields: each a string, or a list of strings.",
        examples=[{"email": "ada@example.com", "topic": ["sales", "press"]}],
    )
    meta: ImportedMeta = ImportedMeta()
    trace: list[ImportedCheck] = Field(
        [],
        max_length=_CHECKS_MAX,
        description="The checks of its decision trace, if it has one; the import is put behind.",
    )

    def plain(self) -> OldSubmission:
        """What the request says, without its form."""
        return OldSubmission(
            reference=self.reference,
            received_at=parse_moment(self.received_at),
            status=self.status,
            payload=self.payload,
            meta=self.meta.model_dump(exclude_none=True),
            is_read=self.read,
            trace=[(row.check, row.verdict, row.microseconds) for row in self.trace],
        )


class ImportSubmissions(Body):
    """Submissions to import, in one transaction."""

    source: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")] = Field(
        description="Where they come from; their decision trace says so.", examples=["formspree"]
    )
    submissions: list[ImportedSubmission] = Field(min_length=1, max_length=ITEMS_MAX)
    dry_run: bool = Field(False, description="Whether only to say what would be imported.")


class ImportReport(BaseModel):
    """What became of the submissions, or would."""

    imported: int = Field(description="Stored, as if they had been posted at their time.")
    known: int = Field(description="Not stored again: they had been imported before.")
    past_retention: int = Field(
        description="Of those imported, how many are older than the form's `retention_days`, "
        "which will remove them within a day."
    )
    ids: list[str] = Field(
        description="The id that each submission has, or would have, in the order of the request."
    )
    dry_run: bool


class ImportedFile(BaseModel):
    """What is said of a file whose bytes are the body."""

    model_config = ConfigDict(extra="forbid")

    position: int = Field(
        ge=0,
        lt=_FILES_MAX,
        description="Its place among the files of the submission, from 0.",
        examples=[0],
    )
    field: Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00]*$")] = Field(
        description="The name of the input.", examples=["cv"]
    )
    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=255, pattern=f"^[^{CONTROL_CHARACTERS}]+$"),
    ] = Field(description="What the visitor's file was called.", examples=["cv.pdf"])
    content_type: Annotated[
        str, StringConstraints(max_length=255, pattern=f"^{_TYPE_NAME}/{_TYPE_NAME}$")
    ] = Field(
        "application/octet-stream",
        description="As the visitor's browser declared it.",
        examples=["application/pdf"],
    )
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] = Field(
        description="The digest of the body, in hex.",
        examples=["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    )

    def plain(self) -> NewFile:
        """What the request says."""
        return NewFile(**self.model_dump())
