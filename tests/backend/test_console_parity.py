"""The console does what the API does: every operation is on a page, and no page can do more."""

from collections.abc import Iterable

import pytest

from backend.console.console import PAGES
from backend.management import OPERATIONS
from backend.operations import UNSAFE_METHODS

# What no page does, and what does it instead.
ELSEWHERE = {
    ("GET", "/v1/unsubscribe"): "the link in a mail is a page of its own",
    ("POST", "/v1/unsubscribe"): "the button on that page",
    ("GET", "/v1/health"): "a page that answers says as much",
    ("GET", "/openapi"): "for programs",
    ("GET", "/openapi.yaml"): "for programs",
    ("GET", "/docs"): "a page of its own, that the account's page leads to",
    ("GET", "/docs/{asset}"): "what that page loads",
}


def test_every_operation_is_on_a_page_or_known_to_be_elsewhere() -> None:
    known = {(operation.method, operation.path) for operation in OPERATIONS}
    used = {name for page in PAGES for name in page.uses}
    assert used <= known
    assert known - used == ELSEWHERE.keys()


def test_whoever_is_not_signed_in_gets_at_public_operations_only() -> None:
    rights = {(operation.method, operation.path): operation.right for operation in OPERATIONS}
    behind = {name for page in PAGES if page.is_public for name in page.uses}
    assert {name for name in behind if rights[name] is not None} == set()


def test_no_two_pages_are_at_the_same_address() -> None:
    names = [(page.method, page.path) for page in PAGES]
    assert [name for name in set(names) if names.count(name) > 1] == []


@pytest.mark.parametrize("path", sorted({page.path for page in PAGES}))
def test_a_page_is_not_hidden_behind_another(path: str) -> None:
    """A path that a parameter of an earlier page matches must come before it."""
    parts = path.split("/")
    earlier = _before(path)
    assert [each for each in earlier if _is_like(each.split("/"), parts)] == []


def _before(path: str) -> Iterable[str]:
    paths = list(dict.fromkeys(page.path for page in PAGES))
    return paths[: paths.index(path)]


def _is_like(pattern: list[str], parts: list[str]) -> bool:
    return len(pattern) == len(parts) and all(
        mine.startswith("{") or mine == theirs for mine, theirs in zip(pattern, parts, strict=True)
    )


def test_every_change_is_behind_a_form() -> None:
    """Whatever an operation changes, only a page that is posted to can call it."""
    changing = {
        name
        for page in PAGES
        if page.method == "POST"
        for name in page.uses
        if name[0] in UNSAFE_METHODS
    }
    unsafe = {
        (operation.method, operation.path)
        for operation in OPERATIONS
        if operation.method in UNSAFE_METHODS
    }
    assert unsafe - changing == {name for name in ELSEWHERE if name[0] in UNSAFE_METHODS}
