"""The way through the console."""

from dataclasses import dataclass

from backend.access import OWNERSHIP


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, for those who have the right; ``icon`` names one of ``icons.html``. ``also`` are
    other paths whose pages belong to it."""

    title: str
    path: str
    icon: str
    right: str | None = None
    also: tuple[str, ...] = ()

    def has(self, path: str) -> bool:
        """Whether the page at a path belongs to this entry."""
        return any(f"{path}/".startswith(f"{each}/") for each in (self.path, *self.also))


ENTRIES = (
    Entry("Overview", "/overview", "overview"),
    Entry("Forms", "/forms", "forms", "forms:read"),
    Entry("Submissions", "/submissions", "submissions", "submissions:read"),
    Entry("Webhooks", "/webhooks", "webhooks", "webhooks:read", ("/deliveries",)),
    Entry("API keys", "/api-keys", "keys", "keys:manage"),
    Entry("Usage", "/usage", "usage", "usage:read"),
    Entry("Audit log", "/audit-log", "audit", "audit:read"),
    Entry("Members", "/members", "members", "members:read"),
    Entry("Mailbox", "/mailbox", "mailbox", OWNERSHIP),
    Entry("Account", "/account", "account"),
)
