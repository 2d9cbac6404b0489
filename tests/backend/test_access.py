import httpx
import pytest

from backend.access import RIGHTS
from backend.management import OPERATIONS, Services
from contracts.ids import new_id
from contracts.keys import KeyKind, mint_key
from tests.backend.builders import Account, add_account, add_form, add_submission, create_key
from tests.backend.conftest import OPERATOR_TOKEN
from tests.backend.file_builders import add_file_row

pytestmark = pytest.mark.asyncio


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Bearer", "Bearer  "])
async def test_without_a_credential_every_operation_answers_401(
    anonymous: httpx.AsyncClient, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    for operation in OPERATIONS:
        if operation.right is not None:
            answer = await anonymous.request(operation.method, operation.path, headers=headers)
            assert (answer.status_code, answer.json()["type"].split("/")[-1]) == (
                401,
                "unauthorized",
            )
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_bad_key_is_403_invalid_key(anonymous: httpx.AsyncClient, account: Account) -> None:
    unknown = mint_key(KeyKind.MANAGEMENT).text
    mistyped = account.key[:-1] + ("0" if account.key[-1] != "0" else "1")
    for credential in (unknown, mistyped, "x", "ff_mgmt_", "é"):
        answer = await anonymous.get("/v1/forms", headers=_raw(credential))
        assert (answer.status_code, answer.json()["type"].split("/")[-1]) == (403, "invalid-key")


def _raw(credential: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + credential.encode())]


async def test_a_submission_key_lacks_every_right(client: httpx.AsyncClient) -> None:
    key = await create_key(client, "submission")
    for operation in OPERATIONS:
        if operation.right is not None:
            answer = await client.request(
                operation.method, operation.path, headers=bearer(key["key"])
            )
            assert (answer.status_code, answer.json()["scope"]) == (403, operation.right)
            assert operation.right in answer.json()["detail"]


async def test_every_right_that_an_operation_needs_exists() -> None:
    assert {operation.right for operation in OPERATIONS} - {None} <= RIGHTS


async def test_public_operations_ignore_credentials(anonymous: httpx.AsyncClient) -> None:
    for operation in OPERATIONS:
        if operation.right is None:
            answer = await anonymous.request(
                operation.method, operation.path, headers=bearer("wrong")
            )
            assert answer.status_code == 200


async def test_the_operator_acts_on_the_first_account(
    anonymous: httpx.AsyncClient, services: Services
) -> None:
    assert (await anonymous.get("/v1/forms", headers=bearer(OPERATOR_TOKEN))).status_code == 403
    first = await add_account(services)
    services.clock.advance(1)  # type: ignore[attr-defined]
    await add_account(services)
    form = await add_form(services, first)
    answer = await anonymous.get("/v1/forms", headers=bearer(OPERATOR_TOKEN))
    assert [item["id"] for item in answer.json()["data"]] == [form.id]


async def test_anothers_object_looks_like_none_at_all(
    client: httpx.AsyncClient, services: Services
) -> None:
    other = await add_account(services)
    form = await add_form(services, other)
    submission = await add_submission(services, form)
    key, _ = await services.keys.create(other.principal, "theirs", KeyKind.SUBMISSION)
    foreign = {
        "form_id": form.id,
        "submission_id": submission,
        "file_id": await add_file_row(services, submission),
        "key_id": key.id,
    }
    absent = {name: new_id(id.split("_")[0], 1) for name, id in foreign.items()}
    malformed = dict.fromkeys(foreign, "x%00")
    headers = {"X-Request-Id": "same"}
    for operation in OPERATIONS:
        if "{" in operation.path:
            answers = [
                await client.request(
                    operation.method, operation.path.format(**ids), headers=headers, json={}
                )
                for ids in (foreign, absent, malformed)
            ]
            assert {answer.status_code for answer in answers} == {404}
            assert len({(answer.content, str(answer.headers)) for answer in answers}) == 1


async def test_lists_show_only_ones_own(client: httpx.AsyncClient, services: Services) -> None:
    other = await add_account(services)
    await add_form(services, other)
    assert (await client.get("/v1/forms")).json()["data"] == []
    assert len((await client.get("/v1/api-keys")).json()["data"]) == 1
