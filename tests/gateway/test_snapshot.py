"""The file of the snapshot: private, sealed, and whole or not used."""

import base64
import random
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from contracts.forms import KeyRestrictions
from gateway.config.ages import Saved
from gateway.config.snapshot import Snapshot, SnapshotFile
from tests.support.builders import form_config, key_grant
from tests.support.clock import ManualClock
from tests.support.known import (
    FORM,
    KEY,
    SECRET,
    Process,
    backend_with_form_and_key,
    leave_snapshot,
)
from tests.support.mini_backend import TOKEN, MiniBackend

pytestmark = pytest.mark.asyncio


@pytest.fixture
def backend() -> MiniBackend:
    return backend_with_form_and_key()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def path(backend: MiniBackend, clock: ManualClock, tmp_path: Path) -> Path:
    """The snapshot of a process that has ended."""
    path = tmp_path / "state" / "config.snapshot"
    await leave_snapshot(backend, clock, path)
    return path


async def loads_nothing(path: Path, token: str = TOKEN) -> None:
    """One log line, an empty start, and a process that works and writes a new snapshot."""
    backend = backend_with_form_and_key()
    process = Process(backend, ManualClock(), path, token)
    with capture_logs() as lines:
        await process.keeper.load()
    assert [line["event"] for line in lines] == ["snapshot not used, starting empty"]
    assert SECRET not in str(lines)
    assert (process.keeper.was_loaded, len(process.forms), len(process.keys)) == (False, 0, 0)
    await process.hear()
    await process.learn()
    await process.keeper.save()
    heir = Process(backend, ManualClock(), path, token)
    await heir.keeper.load()
    assert heir.keeper.was_loaded


async def test_the_file_is_for_its_owner_only_and_shows_no_secret(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    seen = path.read_bytes()
    for line in seen.split(b"\n")[1:-1]:
        seen += base64.urlsafe_b64decode(line)
    for canary in (SECRET, KEY.text, KEY.secret, "contact", TOKEN):
        assert canary.encode() not in seen


@pytest.mark.parametrize("seed", range(40))
async def test_a_flipped_byte_starts_empty(path: Path, seed: int) -> None:
    whole = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(len(whole) - 1)
    whole[place] ^= 1 << random.Random(seed).randrange(8)
    path.write_bytes(whole)
    await loads_nothing(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9, 0.999])
async def test_a_file_that_is_cut_off_starts_empty(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    await loads_nothing(path)


async def test_a_file_that_lost_a_line_starts_empty(path: Path) -> None:
    lines = path.read_bytes().split(b"\n")
    for lost in range(len(lines) - 1):
        path.write_bytes(b"\n".join(lines[:lost] + lines[lost + 1 :]))
        await loads_nothing(path)


async def test_lines_of_two_snapshots_are_not_one(
    backend: MiniBackend, clock: ManualClock, path: Path, tmp_path: Path
) -> None:
    await leave_snapshot(backend, clock, tmp_path / "other")
    mine, other = path.read_bytes().split(b"\n"), (tmp_path / "other").read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*mine[:2], other[2], *mine[3:]]))
    await loads_nothing(path)


async def test_another_token_starts_empty(path: Path) -> None:
    await loads_nothing(path, "another-internal-token")


@pytest.mark.parametrize("content", [b"\n\n\n", b"FormFlow gateway snapshot 2\n", b"\xff\x00"])
async def test_another_format_starts_empty(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    await loads_nothing(path)


async def test_the_key_itself_is_not_kept_at_all(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    process = Process(backend, clock, path)
    await process.keeper.load()
    assert KEY.key_id in str(process.keys.holdings())
    assert KEY.secret not in str(process.keys.holdings())


async def test_a_form_that_this_version_does_not_understand_is_left_out(tmp_path: Path) -> None:
    strange = form_config(slug="strange", allowed_origins=7)
    saved = [Saved(form, 1, True) for form in (FORM, strange)]
    file = SnapshotFile(tmp_path / "config.snapshot", TOKEN)
    file.write(Snapshot("epoch-1", 1, saved, []))
    snapshot = file.read()
    assert snapshot is not None
    assert list(snapshot.forms) == saved[:1]


async def test_many_slices_are_read_in_their_order(tmp_path: Path) -> None:
    forms = [Saved(form_config(slug=f"form-{n}"), n, n % 2 == 0) for n in range(1234)]
    grants = [(n.to_bytes(32, "big"), Saved(key_grant(), n, n % 2 == 1)) for n in range(1001)]
    file = SnapshotFile(tmp_path / "config.snapshot", TOKEN)
    file.write(Snapshot("epoch-1", 7, forms, grants))
    assert file.read() == Snapshot("epoch-1", 7, forms, grants)


async def test_a_restricted_grant_survives_with_its_restrictions(tmp_path: Path) -> None:
    restrictions = KeyRestrictions(("192.0.2.0/24",), ("frm_1",), "staging", True, 1)
    grants = [
        (bytes(32), Saved(key_grant(restrictions=restrictions), 1, True)),
        (bytes(31) + b"1", Saved(key_grant(), 2, False)),
    ]
    file = SnapshotFile(tmp_path / "snapshot", TOKEN)
    file.write(Snapshot("e", 1, [], grants))
    read = file.read()
    assert read is not None
    assert list(read.grants) == grants
