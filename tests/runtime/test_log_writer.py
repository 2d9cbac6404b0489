"""Log lines: written in order, and never at the price of blocking whoever logs."""

import io
import os
import subprocess
import sys
import time

from contracts.runtime.log_writer import LogWriter


def test_lines_are_written_in_order_by_the_time_it_is_closed() -> None:
    file = io.StringIO()
    writer = LogWriter(file)
    for number in range(1_000):
        writer.write(f"{number}\n")
    writer.close()
    assert file.getvalue().split() == [str(number) for number in range(1_000)]


def test_a_blocked_reader_costs_lines_not_time() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(os.fdopen(writing, "w"), lines_max=10)
    started = time.monotonic()
    for _ in range(1_000):
        writer.write("x" * 10_000 + "\n")
    assert time.monotonic() - started < 5.0
    assert writer.dropped > 0
    os.close(reading)
    writer.close()


def test_the_next_line_says_how_many_were_dropped() -> None:
    file = io.StringIO()
    writer = LogWriter(file, lines_max=1)
    writer.write("first\n")
    writer.write("second\n")
    writer.close()
    assert file.getvalue() == 'first\n{"event": "1 log lines were dropped"}\n'


def test_what_is_logged_before_the_end_of_a_process_is_written() -> None:
    program = (
        "from contracts.runtime.telemetry import configure_logging, get_logger\n"
        "configure_logging('gateway', 'json', 'info')\n"
        "get_logger('gateway').info('last words')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert '"event":"last words"' in done.stderr
