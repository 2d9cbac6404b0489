import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from backend.management import OPERATIONS
from backend.openapi import document


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


def test_every_route_is_in_the_document() -> None:
    described = {(method, path) for method, path, _ in operations_of(document(OPERATIONS)["paths"])}
    assert described == {(item.method, item.path) for item in OPERATIONS} | {
        ("POST", "/v1/f/{slug}")
    }


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
        assert ("401" in operation["responses"]) == (operation["security"] == [{"key": []}])


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
