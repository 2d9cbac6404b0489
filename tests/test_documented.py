"""The documentation says what the code does."""

import re
from pathlib import Path

from backend.access import RIGHTS
from backend.accounts.roles import ROLES
from backend.management import OPERATIONS
from contracts.problems import Problem

ROOT = Path(__file__).parent.parent


def test_every_problem_is_documented_as_it_is() -> None:
    documented = (ROOT / "docs/problems.md").read_text()
    for problem in Problem:
        assert f"| {problem.status} | `{problem.slug}` | {problem.title} |" in documented


def test_every_path_that_the_readme_names_exists() -> None:
    paths = {re.sub(r"\{\w+\}", "{}", operation.path) for operation in OPERATIONS}
    paths |= {"/v1/f/contact", "/v1/f/demo", "/v1/f/:slug"}
    readme = (ROOT / "README.md").read_text()
    named = {match.rstrip(".") for match in re.findall(r"/v1/[\w/{}:.$-]+", readme)}
    assert {re.sub(r"\{\w+\}|\$\w+", "{}", path) for path in named} <= paths


def test_every_local_link_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_role_is_documented_as_it_is() -> None:
    documented = (ROOT / "docs/accounts.md").read_text()
    for role in ("editor", "viewer"):
        permissions = ", ".join(f"`{right}`" for right in sorted(ROLES[role]))
        assert f"| `{role}` | {permissions} |" in documented
    assert ROLES["owner"] == RIGHTS
    assert ROLES["admin"] == RIGHTS - {"billing:view"}
