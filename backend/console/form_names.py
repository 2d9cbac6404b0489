"""What forms are called, for pages that show what belongs to them."""

from collections.abc import Iterable
from typing import Any

from backend.console.api import Api
from backend.forms.documents import FormList

FORMS = ("GET", "/v1/forms")
FORM = ("GET", "/v1/forms/{form_id}")
_AT_ONCE = 100


async def form_names(api: Api, ids: Iterable[str]) -> dict[str, str]:
    """The names of these forms, and of others perhaps, by their ids; none for those who may not
    read forms. The page must use ``FORMS``."""
    wanted, names = set(ids), dict[str, str]()
    query: dict[str, Any] = {"limit": _AT_ONCE}
    while api.may(*FORMS) and not wanted <= names.keys():
        forms = await api.ask(FormList, *FORMS, query=query)
        names |= {form.id: form.name for form in forms.data}
        if forms.next_cursor is None:
            break
        query["cursor"] = forms.next_cursor
    return names
