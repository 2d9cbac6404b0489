"""The pages on submissions, gathered. The lists come first: one of their addresses looks like that
of a submission."""

from backend.console.pages import Page
from backend.console.submissions import export, inbox, reading

pages: tuple[Page, ...] = (*inbox.pages, *reading.pages, *export.pages)
