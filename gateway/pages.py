"""The pages that browsers see: thank-you, and a refusal. No script, one inline style sheet."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

_STYLE = """
:root{color-scheme:light dark;--line:#d7dbe0;--soft:#5c6670;--mark:#1a7f4b}
@media (prefers-color-scheme:dark){:root{--line:#3a4048;--soft:#a3acb5;--mark:#5fd39a}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:34rem;padding:2rem;border:1px solid var(--line);border-radius:.75rem}
h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}
.ok h1::before{content:"\\2713\\00a0";color:var(--mark)}
p{margin:.5rem 0}
small,dt{color:var(--soft)}
dl{margin:1.25rem 0 0;padding-top:1rem;border-top:1px solid var(--line)}
dt{font-size:.875rem}
dd{margin:0 0 .75rem;white-space:pre-wrap;overflow-wrap:anywhere}
""".strip()

_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
)


def thank_you_page() -> bytes:
    """Shown after a success when the form names no page of its own."""
    return _page(
        "Thank you",
        "ok",
        "<h1>Thank you</h1><p>Your message has been received. You can close this page.</p>",
    )


def refusal_page(
    status: int, title: str, detail: str, fields: Mapping[str, str | list[str]] | None = None
) -> bytes:
    """Shown for a refusal; ``fields`` shows the visitor their own text, so that it is not lost."""
    content = f"<h1>{escape(title)}</h1><p>{escape(detail)}</p><p><small>Error {status}</small></p>"
    if fields:
        content += (
            "<p>Here is what you wrote, so that you can copy it and try again:</p>"
            f"<dl>{''.join(_entry(name, value) for name, value in fields.items())}</dl>"
        )
    return _page(title, "refused", content)


def _entry(name: str, value: str | list[str]) -> str:
    text = value if isinstance(value, str) else "\n".join(value)
    return f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"


def _page(title: str, kind: str, content: str) -> bytes:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f'<body><main class="{kind}">{content}</main></body></html>'
    ).encode()
