"""Turns what a mail says into its two parts, by the templates beside this module."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import PackageLoader, StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape


def rendered(name: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """The text and the HTML of the mail ``name``; in the HTML every value is escaped."""
    return _template(f"{name}.txt").render(values), rendered_page(name, values)


def rendered_page(name: str, values: Mapping[str, Any]) -> str:
    """The HTML alone."""
    return _template(f"{name}.html").render(values)


@cache
def _template(name: str) -> Template:
    return _environment().get_template(f"{name}.jinja")


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=PackageLoader("backend.mail"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["lines"] = _lines
    environment.filters["indented"] = _indented
    return environment


def _lines(text: str) -> Markup:
    """The text as HTML that keeps its line ends."""
    return Markup("<br>").join(escape(line) for line in text.split("\n"))


def _indented(text: str) -> str:
    """The text with every line set in, so that none looks like one of the mail's own."""
    return "\n".join(f"  {line}".rstrip() for line in text.split("\n"))
