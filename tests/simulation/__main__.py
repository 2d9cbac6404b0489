"""``python -m tests.simulation --seeds N [--first S]``: until a seed fails."""

import argparse
import sys
import time
import traceback

from tests.simulation.scenario import run


def main() -> int:
    """The exit code: 1 if a seed fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        try:
            run(seed)
        except Exception:
            traceback.print_exc()
            again = f"python -m tests.simulation --seeds 1 --first {seed}"
            sys.stdout.write(f"seed {seed} fails; to see it again: {again}\n")
            return 1
    seconds = time.monotonic() - started
    sys.stdout.write(f"{arguments.seeds} seeds from {arguments.first}: {seconds:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
