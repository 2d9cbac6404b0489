"""Texts that would run, load or compute something on a page that does not escape them."""

from tests.support.naughty import NAUGHTY

PRODUCT = "9801547"
"""What a template that is evaluated shows: 1337 times 7331."""

SCRIPTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<input autofocus onfocus=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<math><mtext></mtext><img src=x onerror=alert(1)></math>",
    "<a href=javascript:alert(1) autofocus onfocus=alert(1)>x</a>",
    "<img src=//evil.invalid/pixel>",
    "<base href=//evil.invalid/>",
    "<object data=//evil.invalid/x></object>",
)
"""Markup that a browser acts upon at once."""
# What ends whatever a text may stand in.
_BREAKERS = (
    "",
    '"',
    "'",
    '">',
    "'>",
    "`>",
    "-->",
    "]]>",
    "</title>",
    "</textarea>",
    "</style>",
    "</script>",
    "</option></select>",
    "</noscript>",
    "</pre></code>",
    "</template>",
    "\\'>",
    "&quot;>",
    "\N{FULLWIDTH QUOTATION MARK}>",
    "%22%3E",
)
_ATTRIBUTES = (
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    '" autofocus onfocus=alert(1) x="',
    '" style="position:fixed;inset:0;background:url(//evil.invalid/x)',
    '" hx-on:load="alert(1)',
    '" hx-get="//evil.invalid/x" hx-trigger="load',
    '" data-hx-on--load="alert(1)" x="',
    "x onerror=alert(1)",
)
_URLS = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "javascript://example.com/%0aalert(1)",
    "javascript:alert(1)//https://example.com",
    'https://example.com/" onclick="alert(1)',
    "https://example.com/'onclick='alert(1)",
    "https://example.com/<script>alert(1)</script>",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "//evil.invalid/x",
    "\\\\evil.invalid\\x",
    "mailto:a@b.c?subject=<script>alert(1)</script>",
)
_TEMPLATES = (
    "{{1337*7331}}",
    "{% set x = 1337*7331 %}{{ x }}",
    "{{ self.__init__.__globals__ }}",
    "{{'a'.__class__.__mro__}}",
    "${1337*7331}",
    "#{1337*7331}",
    "<%= 1337*7331 %>",
    "{{constructor.constructor('alert(1)')()}}",
    "[[1337*7331]]",
    "{0.__class__.__init__.__globals__}",
    "%(csrf)s",
    "{count}",
    "{target}[ {name}]",
)
_LETTERS = (
    "\N{RIGHT-TO-LEFT OVERRIDE}<script>alert(1)</script>",
    "\N{ZERO WIDTH SPACE}\N{ZERO WIDTH JOINER}",
    "\N{FAMILY}\N{ZERO WIDTH JOINER}" * 20,
    "<scr\0ipt>alert(1)</scr\0ipt>",
    "<\u017fcript>alert(1)</\u017fcript>",
    "\ufeff<script>alert(1)</script>",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "a" * 3_000,
    "<b>" * 300,
    "&" * 500,
)

USUAL = (
    *SCRIPTS,
    *(f"{breaker}<img src=x onerror=alert(1)>" for breaker in _BREAKERS[1:]),
    *_ATTRIBUTES,
    *_URLS,
    *_TEMPLATES,
    *_LETTERS,
)
"""One of each kind."""
ALL = tuple(
    dict.fromkeys(
        (*USUAL, *(f"{breaker}{each}" for breaker in _BREAKERS for each in SCRIPTS), *NAUGHTY)
    )
)
"""Those, each script after each end of what it may stand in, and what has broken other things."""
