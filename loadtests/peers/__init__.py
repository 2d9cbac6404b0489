"""The peers: what FormFlow's figures stand beside, in the same run (see README.md here)."""

from loadtests.peers.installs import install
from loadtests.peers.processes import running
from loadtests.peers.programs import PEERS, why_missing

__all__ = ["PEERS", "install", "running", "why_missing"]
