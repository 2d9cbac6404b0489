"""Log lines: written in order, and never at the price of blocking whoever logs."""

import errno
import io
import json
import os
import subprocess
import sys
import time

from contracts.runtime.log_writer import LogWriter


class Disk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.content = b""

    def write(self, data: bytes) -> int:
        taken = data[: self.room]
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(taken)
        self.content += taken
        return len(taken)


def until_dropped(writer: LogWriter, count: int) -> None:
    """Waits until so many lines are counted as dropped."""
    deadline = time.monotonic() + 10.0
    while writer.dropped < count:
        assert time.monotonic() < deadline, writer.dropped
        time.sleep(0.005)


def test_lines_are_written_in_order_by_the_time_it_is_closed() -> None:
    file = io.BytesIO()
    writer = LogWriter(file)
    for number in range(1_000):
        writer.write(f"{number}\n")
    writer.close()
    assert file.getvalue().split() == [b"%d" % number for number in range(1_000)]


def test_a_blocked_reader_costs_lines_not_time() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(os.fdopen(writing, "wb", buffering=0), lines_max=10)
    for _ in range(1_000):
        writer.write("x" * 10_000 + "\n")
    assert writer.dropped > 0
    os.close(reading)
    writer.close()


def test_the_next_line_says_how_many_were_dropped() -> None:
    file = io.BytesIO()
    writer = LogWriter(file, lines_max=1)
    writer.write("first\n")
    writer.write("second\n")
    writer.close()
    assert file.getvalue() == b'first\n{"event": "1 log lines were dropped"}\n'


def test_a_full_disk_is_counted_and_outlived() -> None:
    disk = Disk(room=0)
    writer = LogWriter(disk)
    writer.write("lost\n")
    until_dropped(writer, 1)
    writer.write("lost, too\n")
    until_dropped(writer, 2)
    disk.room = 1_000
    writer.write("kept\n")
    writer.close()
    assert disk.content == b'kept\n{"event": "2 log lines were dropped"}\n'


def test_a_line_that_was_cut_does_not_spoil_the_next() -> None:
    disk = Disk(room=len("whole\ncu"))
    writer = LogWriter(disk)
    writer.write("whole\n")
    writer.write("cut\n")
    until_dropped(writer, 1)
    disk.room = 1_000
    writer.write("next\n")
    writer.close()
    assert disk.content == b'whole\ncu\nnext\n{"event": "1 log lines were dropped"}\n'


def test_a_pipe_that_would_block_costs_its_lines() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = LogWriter(os.fdopen(writing, "wb", buffering=0))
    # More than a pipe holds.
    for _ in range(100):
        writer.write("x" * 10_000 + "\n")
    until_dropped(writer, 1)
    os.close(reading)
    writer.close()


def test_what_is_logged_before_the_end_of_a_process_is_written() -> None:
    program = (
        "from contracts.runtime.telemetry import configure_logging, get_logger\n"
        "configure_logging('gateway', 'json', 'info')\n"
        "get_logger('gateway').info('last words')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert '"event":"last words"' in done.stderr


def test_text_that_is_not_unicode_is_logged_all_the_same() -> None:
    program = (
        "from contracts.runtime.telemetry import configure_logging, get_logger\n"
        "configure_logging('gateway', 'json', 'info')\n"
        "get_logger('gateway').info('odd', name='a\\udcff')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert json.loads(done.stderr)["name"] == "a\udcff"
