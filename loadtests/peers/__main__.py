"""``python -m loadtests.peers install``: what the peers need besides nginx, Node and npm."""

import argparse
import sys

from loadtests.peers import PEERS, install, why_missing
from loadtests.peers.installs import InstallFailed


def main() -> None:
    """Installs, then says of each peer whether it can run."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.peers", description=__doc__)
    parser.add_argument("action", choices=["install", "list"])
    if parser.parse_args().action == "install":
        try:
            install()
        except InstallFailed as failed:
            sys.exit(str(failed))
    for name in PEERS:
        print(f"{name}: {why_missing(name) or 'can run'}")  # noqa: T201


if __name__ == "__main__":
    main()
