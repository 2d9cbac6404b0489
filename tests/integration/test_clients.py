"""Real clients post the same form, a file with a non-ASCII name among it; all are stored alike."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests

from tests.support.processes import Product

CLIENTS = Path(__file__).parents[1] / "clients"
FIELDS = {"name": "Zoë", "topic": ["sales", "support"]}
CONTENT = "Grüße\n".encode()
FILE = "Lebenslauf – Zoë.txt"


def with_curl(url: str, path: Path) -> Any:
    forms = [f"name={FIELDS['name']}", "topic=sales", "topic=support", f"cv=@{path}"]
    arguments = [argument for form in forms for argument in ("-F", form)]
    return json.loads(_run("curl", "-sS", "--fail-with-body", *arguments, url))


def with_httpx(url: str, path: Path) -> Any:
    files = {"cv": (path.name, path.read_bytes(), "text/plain")}
    return httpx.post(url, data=FIELDS, files=files).json()


def with_requests(url: str, path: Path) -> Any:
    files = {"cv": (path.name, path.read_bytes(), "text/plain")}
    return requests.post(url, data=FIELDS, files=files, timeout=20).json()


def with_aiohttp(url: str, path: Path) -> Any:
    async def post() -> Any:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("name", FIELDS["name"])
        for topic in FIELDS["topic"]:
            form.add_field("topic", topic)
        form.add_field("cv", path.read_bytes(), filename=path.name, content_type="text/plain")
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
            return await answer.json()

    return asyncio.run(post())


def with_node(client: str) -> Callable[[str, Path], Any]:
    def post(url: str, path: Path) -> Any:
        return json.loads(_run("node", str(CLIENTS / "post.mjs"), client, url, str(path)))

    return post


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on this machine")
    if command[0] == "node" and not (CLIENTS / "node_modules").exists():
        pytest.skip("no npm on this machine to install the JavaScript clients")
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


POSTERS: dict[str, Callable[[str, Path], Any]] = {
    "curl": with_curl,
    "httpx": with_httpx,
    "requests": with_requests,
    "aiohttp": with_aiohttp,
    "fetch": with_node("fetch"),
    "axios": with_node("axios"),
    "formspree": with_node("formspree"),
}


def test_every_client_is_stored_alike(product: Product, tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(CONTENT)
    posted = []
    for name, post in POSTERS.items():
        try:
            answer = post(f"{product.url}/v1/f/demo", path)
        except pytest.skip.Exception as skipped:
            if name in ("curl", "httpx", "requests", "aiohttp"):
                raise
            pytest.skip(str(skipped))
        posted.append(name)
        assert answer.get("ok") or answer == {"kind": "success", "next": f"{product.url}/thanks"}
    stored = product.submissions()
    assert len(stored) == len(posted)
    with product.manager() as manager:
        for item in stored:
            [file] = item["files"]
            assert item["payload"] == FIELDS
            assert (file["field"], file["name"], file["size"]) == ("cv", FILE, len(CONTENT))
            url = f"/v1/submissions/{item['id']}/files/{file['id']}"
            assert manager.get(url).content == CONTENT


def test_formspree_s_client_shows_why_a_post_was_refused(product: Product, tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(CONTENT)
    result = with_node("formspree")(f"{product.url}/v1/f/nobody", path)
    assert result["kind"] == "error"
    assert "no form at this address" in result["errors"][0]["message"]
