"""The pages on webhooks and deliveries, gathered."""

from backend.console.pages import Page
from backend.console.webhooks import bench, deliveries, listing, log, making, settings

pages: tuple[Page, ...] = (
    *listing.pages,
    # Before the pages of one webhook, whose paths its path is like.
    *making.pages,
    *log.pages,
    *settings.pages,
    *bench.pages,
    *deliveries.pages,
)
