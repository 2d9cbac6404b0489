"""Code to paste: a form's address in the ways in which pages and programs post to it."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import escape

from backend.forms.documents import Form
from backend.forms.fields import FormField, form_field
from backend.probes.routes import ProbePost
from backend.probes.samples import Values, sample_files, sample_values
from contracts.fields import DeclaredField, FieldType, field_of
from contracts.probes import PROBE_FIELD, PROBE_HEADER

_TURNSTILE_SCRIPT = "https://challenges.cloudflare.com/turnstile/v0/api.js"
# From so many characters on a text is one of several lines.
_LONG = 256
_USUAL = (
    DeclaredField("email", FieldType.EMAIL, "Your e-mail address", required=True),
    DeclaredField("message", FieldType.TEXT, "Your message", required=True),
)
_MESSAGES = frozenset({"comment", "comments", "message"})
_CURL_EMAIL = "ada@example.com"
_CURL_USUAL: Values = {"email": _CURL_EMAIL, "message": "Hello"}


@dataclass(frozen=True, slots=True)
class Snippet:
    """One way to post: ``id`` is a word for addresses, ``lead`` says what for."""

    id: str
    title: str
    lead: str
    code: str


def snippets_of(form: Form, address: str, site_key: str | None, today: date) -> list[Snippet]:
    """The ways to post to a form at its ``address``; the page's own ``site_key`` of Turnstile, if
    one is known."""
    return [
        Snippet(
            "html",
            "HTML",
            "A whole form without any script: browsers get a page that says thank you, or yours.",
            _html(form, address, site_key),
        ),
        Snippet(
            "fetch",
            "JavaScript",
            "Sends that form without leaving the page.",
            _fetch(address),
        ),
        Snippet(
            "curl", "curl", "One post from a terminal, to try it.", _curl(form, address, today)
        ),
        Snippet(
            "probe",
            "Probe",
            "Posts a marked submission and follows it through every hop, to webhooks and mail; "
            "then deletes it.",
            f"formflow probe {shlex.quote(form.slug)}",
        ),
    ]


def _html(form: Form, address: str, site_key: str | None) -> str:
    fields = form.fields or [form_field(field) for field in _USUAL]
    has_files = any(field.type == "file" for field in fields)
    enctype = "multipart/form-data" if has_files else None
    lines = [_tag("form", action=address, method="post", enctype=enctype)]
    for field in fields:
        lines += [f"  {line}" for line in _control(field)]
    if form.honeypot_enabled:
        hidden = _tag("input", name=form.honeypot_field, tabindex="-1", autocomplete="off")
        lines += [
            "  <!-- Nobody sees this; only bots fill it in. -->",
            f'  <div style="position:absolute;left:-9999px" aria-hidden="true">{hidden}</div>',
        ]
    if form.turnstile_enabled:
        widget = _tag("div", **{"class": "cf-turnstile", "data-sitekey": site_key or "SITE-KEY"})
        lines += [f"  {widget}</div>"]
    lines += ["  <button>Send</button>", "</form>"]
    if form.turnstile_enabled:
        lines.append(f'<script src="{_TURNSTILE_SCRIPT}" async defer></script>')
    return "\n".join(lines)


def _control(field: FormField) -> Iterator[str]:
    """The lines of one field."""
    label = escape(field.label or field.name.replace("_", " ").capitalize())
    required = field.required
    if field.type == "select":
        yield f"<label>{label}"
        yield f"  {_tag('select', name=field.name, required=required, multiple=field.multiple)}"
        yield from ([] if field.multiple else ['    <option value="">Choose one</option>'])
        yield from (f"    <option>{escape(option)}</option>" for option in field.options)
        yield "  </select>"
        yield "</label>"
    elif field.options:
        # Of a group of boxes HTML cannot ask for one; of radio buttons it can.
        required = required and field.type == "radio"
        yield "<fieldset>"
        yield f"  <legend>{label}</legend>"
        for option in field.options:
            box = _tag("input", type=field.type, name=field.name, value=option, required=required)
            yield f"  <label>{box} {escape(option)}</label>"
        yield "</fieldset>"
    elif field.type == "checkbox":
        box = _tag("input", type="checkbox", name=field.name, value="yes", required=required)
        yield f"<label>{box} {label}</label>"
    elif _is_long(field):
        limits = {"minlength": field.min_length, "maxlength": field.max_length}
        area = _tag("textarea", name=field.name, required=required, **limits)
        yield f"<label>{label} {area}</textarea></label>"
    else:
        yield f"<label>{label} {_input(field)}</label>"


def _input(field: FormField) -> str:
    is_number = field.type in ("number", "integer")
    return _tag(
        "input",
        type="number" if is_number else field.type,
        name=field.name,
        required=field.required,
        minlength=field.min_length,
        maxlength=field.max_length,
        min=field.min,
        max=field.max,
        step="any" if field.type == "number" else None,
        pattern=field.pattern,
        multiple=field.multiple and field.type in ("email", "file"),
    )


def _is_long(field: FormField) -> bool:
    is_message = field.name.lower() in _MESSAGES
    return (
        field.type == "text"
        and field.pattern is None
        and (is_message or (field.max_length or 0) >= _LONG)
    )


def _tag(element: str, /, **attributes: object) -> str:
    """The beginning of an element; attributes that are None or False are left out."""
    said = [
        f" {key}" if value is True else f' {key}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    return f"<{element}{''.join(said)}>"


def _fetch(address: str) -> str:
    return f"""\
const form = document.querySelector("form");

form.addEventListener("submit", async (event) => {{
  event.preventDefault();
  const answer = await fetch({json.dumps(address)}, {{
    method: "POST",
    headers: {{Accept: "application/json"}},
    body: new FormData(form),
  }});
  if (answer.ok) {{
    form.reset();
    alert("Thank you!");
  }} else {{
    alert((await answer.json()).detail);
  }}
}});"""


def _curl(form: Form, address: str, today: date) -> str:
    declared = tuple(field_of(field.model_dump()) for field in form.fields)
    honeypot = form.honeypot_field if form.honeypot_enabled else None
    values = sample_values(declared, honeypot, _CURL_EMAIL, today) if declared else _CURL_USUAL
    headers = ["Accept: application/json"]
    if origin := next((each for each in form.allowed_origins if "*" not in each), None):
        headers.append(f"Origin: {origin}")
    options = [f"-H {shlex.quote(header)}" for header in headers]
    if form.turnstile_enabled:
        # No terminal can solve the challenge: a key stands in for it, if the form lets it.
        options.append('-H "Authorization: Bearer $FORMFLOW_KEY"')
    return _curl_line(options, values, sample_files(declared), address)


def probe_line(probe: ProbePost, origin: str) -> str:
    """The line that posts a probe while its token is good; ``origin`` is where to, if the probe
    does not say it."""
    headers = ["Accept: application/json", f"{PROBE_HEADER.decode()}: {probe.token}"]
    options = [f"-H {shlex.quote(header)}" for header in headers]
    address = probe.ingest_url if "://" in probe.ingest_url else f"{origin}{probe.ingest_url}"
    return _curl_line(options, probe.fields | {PROBE_FIELD: "1"}, probe.files, address)


def _curl_line(options: Sequence[str], values: Values, files: Sequence[str], address: str) -> str:
    option = "--form-string" if files else "--data-urlencode"
    parts = ["curl", *options]
    for name, value in values.items():
        for each in [value] if isinstance(value, str) else value:
            parts.append(f"{option} {shlex.quote(f'{name}={each}')}")
    parts += [f"-F {shlex.quote(f'{name}=@{name}.pdf')}" for name in files]
    return " \\\n  ".join([*parts, shlex.quote(address)])
