"""The load tests measure a real product and believe no run whose rows do not add up."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests import contact_form, generator, wrk
from loadtests.bench import Bench
from loadtests.canned import ACCEPTED, running_canned
from loadtests.measure import RunFailed, measure
from loadtests.messages import UnreadableMessage, message_length
from loadtests.product import Product, running_product
from loadtests.results import Results, Run, medians
from loadtests.targets import Target
from loadtests.work import Work
from tests.support.processes import clean_environment

needs_wrk = pytest.mark.skipif(
    not wrk.is_here(), reason="no wrk on this machine (Debian: apt-get install wrk)"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Forgetful:
    """A store in which nothing ever arrives."""

    def stored(self) -> int:
        return 0

    def durability(self) -> dict[str, str]:
        return {}


def loadtests(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtests", *arguments]
    return subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running_product(tmp_path_factory.mktemp("product")) as product:
        yield product


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, 0.5, generator.drive)


@contextmanager
def recorder() -> Iterator[tuple[str, bytearray]]:
    """A server's origin, and all that it is sent."""
    received, is_over = bytearray(), threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            with suppress(ConnectionError, TimeoutError):
                connection, _ = listener.accept()
                with connection:
                    while request := connection.recv(65_536):
                        received.extend(request)
                        connection.sendall(OK)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
        is_over.set()
        thread.join()


@needs_wrk
def test_a_run_counts_as_many_rows_as_posts(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = loadtests("burst-64", "--driver", "wrk", "--seconds", "1", "--json", str(results))
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = json.loads(results.read_text())["runs"]
    assert run["figures"]["acknowledged"] > 0
    assert run["figures"]["gateway_us"] > 0
    assert run["figures"]["backend_us"] > 0
    assert run["notes"]["journal_mode"] == "wal"


def test_our_own_driver_does_without_wrk(product: Product, bench: Bench) -> None:
    figures = bench.closed("json", product.target(), contact_form.JSON, 64).figures
    assert figures["acknowledged"] > 0
    assert figures["generator_us"] > 0


def test_an_open_loop_sends_what_is_due(product: Product, bench: Bench) -> None:
    figures = bench.paced("paced", product.target(), contact_form.URLENCODED, 400.0).figures
    assert figures["acknowledged"] == pytest.approx(200, abs=20)


def test_refusals_are_measured_and_leave_no_row(product: Product, bench: Bench) -> None:
    work = replace(contact_form.URLENCODED, expects=404)
    figures = bench.closed("refused", product.target("/v1/f/unknown"), work, 64).figures
    assert figures["acknowledged"] == 0
    assert figures["posts_per_second"] > 0


@pytest.mark.parametrize(
    "work",
    [contact_form.URLENCODED, contact_form.multipart(20_000), contact_form.with_turnstile()],
    ids=["urlencoded", "multipart", "turnstile"],
)
@needs_wrk
def test_wrk_sends_the_same_posts_as_our_own_driver(work: Work) -> None:
    with recorder() as (origin, received):
        target = Target("recorder", origin, "/v1/f/demo", {})
        wrk.drive(target, work, 1, 1)
    assert work.requests(target).fill(3) in received


def test_posts_that_are_acknowledged_but_not_stored_are_no_result() -> None:
    with running_canned(ACCEPTED) as server:
        target = Target(
            "forgetful", server.origin, "/v1/f/demo", {"server": (server.pid,)}, Forgetful()
        )
        work = contact_form.URLENCODED
        with pytest.raises(RunFailed, match="0 rows stored"):
            measure(target, work, lambda: generator.drive_count(target, work, 4, 100), 0.5)


def test_kept_results_are_shown_again(tmp_path: Path) -> None:
    kept, chart = tmp_path / "results.json", tmp_path / "chart.svg"
    slow = {"posts_per_second": 1_000.0, "server_us": 500.0, "total_us": 500.0}
    fast = {"posts_per_second": 9_000.0, "gateway_us": 60.0, "backend_us": 30.0, "total_us": 90.0}
    runs = (
        Run("closed loop", "burst-64", "FormFlow", fast),
        Run("closed loop", "burst-64", "<other>", slow),
    )
    Results({"cores": "2"}, runs, ("lone: it broke",)).write(kept)
    shown = loadtests("report", str(kept), "--markdown", "--chart", str(chart))
    assert "| FormFlow | 9,000 |" in shown.stdout
    assert "cores 2" in shown.stdout
    assert "FAILED lone: it broke" in shown.stdout
    assert "&lt;other&gt;" in chart.read_text()


def test_the_median_of_repetitions_is_shown() -> None:
    runs = [Run("k", "s", "t", {"p50_ms": value}) for value in (9.0, 1.0, 2.0)]
    [shown] = medians(runs)
    assert shown.figures == {"p50_ms": 2.0}


def test_the_end_of_an_answer_is_found_in_pieces_of_it() -> None:
    assert [message_length(OK[:length]) for length in (10, 37, 38, 40)] == [0, 0, 40, 40]
    with pytest.raises(UnreadableMessage):
        message_length(b"HTTP/1.1 200 OK\r\n\r\n")


def test_a_scenario_that_is_not_there_is_named() -> None:
    done = loadtests("burst-65")
    assert done.returncode == 2
    assert "no such scenario: burst-65" in done.stderr
