"""Posts with a file while the bucket that the backend keeps files in cannot be used."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
from sqlalchemy import select

from backend.tables import files
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.verdict import read, read_rows
from tests.faults.wire import Answer, Connection, request
from tests.support.s3 import Fault, S3Proxy, bucket_environment, s3_proxy, s3_server

FILE = b"what is in the file" * 1000
_BUCKET = "a-bucket"
_DRAIN_SECONDS = 60.0
_BOUNDARY = "a-boundary"


@dataclass(slots=True)
class Outcome:
    """What came of it: the answers to a post with a file and to one without while the bucket was
    away, how many rows of files there were then, and in the end the ids that are stored and the
    bytes of the file that the API serves; None if there is none."""

    with_file: Answer
    without_file: Answer
    rows_away: int
    stored: set[str]
    served: bytes | None


async def run_bucket_away(directory: Path, fault: Fault, **settings: str) -> Outcome:
    """The bucket fails, two visitors post, it is well again; ``settings`` are the gateway's."""
    with s3_server() as server_url, faulty_fleet(directory, gateways=1) as fleet:
        async with s3_proxy(server_url) as bucket, httpx.AsyncClient() as http:
            (await http.put(f"{server_url}/{_BUCKET}")).raise_for_status()
            fleet.environments["backend"] = bucket_environment(bucket.url)
            fleet.overrides["backend"] = {"FILES_URL": f"s3://{_BUCKET}/in/here"}
            fleet.overrides["gateway-0"] = settings
            await asyncio.to_thread(start_all, fleet)
            return await _post_without_bucket(fleet, bucket, fault)


async def _post_without_bucket(fleet: FaultyFleet, bucket: S3Proxy, fault: Fault) -> Outcome:
    bucket.fault = fault
    visitor = Connection(fleet.gateways[0])
    try:
        with_file = await visitor.send(_with_file())
        without_file = await visitor.post("/v1/f/demo", {"n": "without"})
    finally:
        visitor.close()
    rows_away = len(await read(fleet, select(files)))
    bucket.fault = None
    await asyncio.to_thread(fleet.until_drained, _DRAIN_SECONDS)
    stored = {row.id for row in await read_rows(fleet)}
    served = await asyncio.to_thread(_served, fleet, with_file)
    return Outcome(with_file, without_file, rows_away, stored, served)


def id_of(answer: Answer) -> str:
    """The id that an answer acknowledges."""
    return str(orjson.loads(answer.body)["id"])


def _with_file() -> bytes:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="cv"; filename="cv.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    )
    body = head.encode() + FILE + f"\r\n--{_BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    return request("/v1/f/demo", body, headers)


def _served(fleet: FaultyFleet, answer: Answer) -> bytes | None:
    if answer.status not in (200, 202):
        return None
    with fleet.manager() as manager:
        path = f"/v1/submissions/{id_of(answer)}"
        [file] = manager.get(path).raise_for_status().json()["files"]
        return manager.get(f"{path}/files/{file['id']}").raise_for_status().content
