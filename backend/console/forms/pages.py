"""The pages on forms, gathered."""

from backend.console.forms import detail, importing, listing, settings
from backend.console.pages import Page

pages: tuple[Page, ...] = (
    # Before the pages of one form, whose paths its paths are like.
    *listing.pages,
    *settings.pages,
    *importing.pages,
    *detail.pages,
)
