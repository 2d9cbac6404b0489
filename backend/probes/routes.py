"""HTTP of probes."""

from pydantic import BaseModel, Field

from backend.operations import Call, Operation
from backend.schemas import Time
from contracts.runtime.clock import iso


class ProbePost(BaseModel):
    """A post to make, which the gateway then recognises as a probe."""

    token: str = Field(description="To be sent as `FormFlow-Probe`.")
    fields: dict[str, str | list[str]] = Field(
        description="Values that fit the form's declared fields. Add `formflow_probe`, which marks "
        "the submission for whoever receives it.",
        examples=[{"email": "owner@example.com"}],
    )
    files: list[str] = Field(
        description="Fields that a file must be sent for, as `multipart/form-data`.",
        examples=[["cv"]],
    )
    ingest_url: str = Field(
        description="Where to post it; only a path if the public origin is not known.",
        examples=["https://forms.example.com/v1/f/contact"],
    )
    expires_at: Time


async def prepare_probe(call: Call) -> ProbePost:
    probe = await call.services.probes.prepare(call.principal, call.path["form_id"])
    return ProbePost(
        token=probe.token,
        fields=probe.values,
        files=list(probe.files),
        ingest_url=probe.ingest_url,
        expires_at=iso(probe.expires_at),
    )


operations = (
    Operation(
        method="POST",
        path="/v1/forms/{form_id}/probe",
        handler=prepare_probe,
        summary="Prepare a marked post that shows whether the form works from end to end",
        # It passes by Turnstile, allowed origins and the visitors' rate, as changing them would.
        right="forms:write",
        answer=ProbePost,
    ),
)
