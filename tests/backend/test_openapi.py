import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from backend.app import Backend
from backend.management import OPERATIONS
from backend.openapi.document import document
from contracts.runtime.settings import load_settings


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def operations_of(paths: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in paths.items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def test_every_operation_is_in_the_document() -> None:
    described = {(method, path) for method, path, _ in operations_of(document(OPERATIONS)["paths"])}
    assert described >= {(item.method, item.path) for item in OPERATIONS}


def test_every_route_of_a_backend_is_in_the_document(tmp_path: Path) -> None:
    backend = Backend(load_settings(environ={}, data_dir=tmp_path), operator_token="t" * 16)
    app = backend._app
    assert isinstance(app, Starlette)
    routes = {route.path for route in app.routes if isinstance(route, Route)}
    # The gateway serves the one that is more.
    assert set(document(OPERATIONS)["paths"]) == routes | {"/v1/f/{slug}"}


def test_every_body_and_answer_has_an_example_that_is_valid() -> None:
    paths = document(OPERATIONS)["paths"]
    for operation in OPERATIONS:
        described = paths[operation.path][operation.method.lower()]
        if operation.body is not None:
            content = described["requestBody"]["content"]["application/json"]
            operation.body.model_validate_json(orjson.dumps(content["example"]))
        if operation.answer is not None:
            success = described["responses"][str(operation.status)]
            content = success["content"][operation.media_type]
            operation.answer.model_validate_json(orjson.dumps(content["example"]))


def test_every_problem_of_an_operation_has_an_example_and_its_slug() -> None:
    whole = document(OPERATIONS)
    examples = whole["components"]["examples"]
    for _, _, operation in operations_of(whole["paths"]):
        for status, answer in operation["responses"].items():
            problem = answer.get("content", {}).get("application/problem+json", {})
            for slug, reference in problem.get("examples", {}).items():
                assert reference == {"$ref": f"#/components/examples/{slug}"}
                assert examples[slug]["value"]["type"].endswith(f"/{slug}")
                assert str(examples[slug]["value"]["status"]) == status


def test_a_creation_says_where_the_new_object_is_and_leads_to_what_can_be_done_with_it() -> None:
    created = document(OPERATIONS)["paths"]["/v1/forms"]["post"]["responses"]["201"]
    assert "Location" in created["headers"]
    assert created["links"]["change_form"] == {
        "operationId": "change_form",
        "parameters": {"form_id": "$response.body#/id"},
    }
    listed = document(OPERATIONS)["paths"]["/v1/forms"]["get"]["responses"]["200"]
    assert listed["links"]["get_form"]["parameters"] == {"form_id": "$response.body#/data/0/id"}


def test_what_is_linked_to_exists() -> None:
    operations = [item for _, _, item in operations_of(document(OPERATIONS)["paths"])]
    ids = {item["operationId"]: {one["name"] for one in item["parameters"]} for item in operations}
    for item in operations:
        for answer in item["responses"].values():
            for link in answer.get("links", {}).values():
                assert link["parameters"].keys() <= ids[link["operationId"]]


def test_every_reference_leads_somewhere() -> None:
    whole = document(OPERATIONS)
    for reference in references(whole):
        node = whole
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_operation_ids_are_unique() -> None:
    ids = [item["operationId"] for _, _, item in operations_of(document(OPERATIONS)["paths"])]
    assert len(ids) == len(set(ids))


def test_path_parameters_are_those_of_the_path() -> None:
    for _, path, operation in operations_of(document(OPERATIONS)["paths"]):
        declared = {item["name"] for item in operation["parameters"] if item["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path))


def test_every_operation_has_a_success_and_says_who_may_call_it() -> None:
    for _, _, operation in operations_of(document(OPERATIONS)["paths"]):
        assert any(status.startswith("2") for status in operation["responses"])
        right = operation.get("x-required-scope")
        is_public = operation["security"] == []
        assert is_public or operation["security"] in ([{"key": [right]}], [{}, {"key": []}])
        assert ("401" in operation["responses"]) == (right is not None)


def test_members_to_patch_have_no_default() -> None:
    schema = document(OPERATIONS)["components"]["schemas"]["ChangeForm"]
    assert "required" not in schema
    assert all("default" not in member for member in schema["properties"].values())
    assert schema["additionalProperties"] is False


@pytest.mark.asyncio
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_document_is_served_to_everybody(anonymous: httpx.AsyncClient) -> None:
    served = await anonymous.get("/openapi")
    assert served.json() == document(OPERATIONS)
    yaml = await anonymous.get("/openapi.yaml")
    assert yaml.headers["content-type"] == "application/yaml"
    assert yaml.content == served.content
