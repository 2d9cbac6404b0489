"""How receivers verify what they get, in five languages."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_FILES = {
    "Python": "verify.py",
    "JavaScript": "verify.mjs",
    "PHP": "verify.php",
    "Ruby": "verify.rb",
    "Go": "verify.go",
}


@dataclass(frozen=True, slots=True)
class Verifier:
    """Code that says whether a request is genuine; ``id`` is fit for an element of a page."""

    id: str
    language: str
    code: str


@cache
def verifiers() -> tuple[Verifier, ...]:
    """One for each language, which ``docs/webhooks.md`` shows, too."""
    directory = files("backend.webhooks") / "verifiers"
    return tuple(
        Verifier(language.lower(), language, (directory / name).read_text())
        for language, name in _FILES.items()
    )
