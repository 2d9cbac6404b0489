"""The comparison as a picture: durable posts a second, and the CPU that each post costs.

A small SVG without scripts or fonts of its own, readable on light and on dark pages.
"""

from collections.abc import Sequence
from html import escape

from loadtests.report import number
from loadtests.results import Results, Run, medians

_PREFERRED = "burst-64"
_WIDTH, _ROW, _TOP, _BOTTOM = 860, 34, 74, 40
_NAMES, _SPEED, _CPU = 230, 265, 215
_CPU_LEFT = _NAMES + _SPEED + 100
_BAR = 18
_STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.quiet { fill: #59636e; font-size: 12px }
.own { font-weight: 600 }
.speed { fill: #8c959f } .own.speed { fill: #0969da }
.server { fill: #8c959f } .gateway { fill: #0969da } .backend { fill: #bf8700 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .quiet { fill: #9198a1 }
  .speed { fill: #656c76 } .own.speed { fill: #4493f8 }
  .server { fill: #656c76 } .gateway { fill: #4493f8 } .backend { fill: #d29922 }
}
"""


def draw(results: Results) -> str:
    """The picture of one scenario, ``burst-64`` if it was run, on every target that stores.

    If there is only one target, of its scenarios.
    """
    runs = [run for run in medians(results.runs) if "posts_per_second" in run.figures]
    runs = [run for run in runs if run.notes.get("stores") != "nothing"]
    title = "every scenario"
    if len({run.target for run in runs}) > 1:
        title = _scenario_of(runs)
        runs = [run for run in runs if run.scenario == title]
    runs.sort(key=lambda run: -run.figures["posts_per_second"])
    height = _TOP + _ROW * len(runs) + _BOTTOM
    parts = [*_heads(title, runs), *_rows(runs), *_legend(runs, height - 14)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'role="img" aria-label="Posts a second, and CPU a post">\n<style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _scenario_of(runs: Sequence[Run]) -> str:
    names = [run.scenario for run in runs]
    return _PREFERRED if _PREFERRED in names else names[0]


def _heads(title: str, runs: Sequence[Run]) -> list[str]:
    return [
        _text(0, 20, f"Durable posts, {title}", "own"),
        _text(_NAMES, 54, "posts a second", "quiet"),
        _text(_CPU_LEFT, 54, "CPU a post, µs", "quiet"),
    ]


def _rows(runs: Sequence[Run]) -> list[str]:
    fastest = max((run.figures["posts_per_second"] for run in runs), default=1.0)
    dearest = max((run.figures["total_us"] for run in runs), default=1.0)
    several = len({run.target for run in runs}) > 1
    parts = []
    for n, run in enumerate(runs):
        top, own = _TOP + n * _ROW, "own " if run.target == "FormFlow" else ""
        speed = run.figures["posts_per_second"]
        width = _SPEED * speed / fastest
        parts += [
            _text(0, top + 14, run.target if several else f"{run.scenario} {run.case}", own),
            _bar(_NAMES, top, width, f"{own}speed"),
            _text(_NAMES + width + 8, top + 14, number(round(speed)), own),
            *_cpu_bars(run, top, _CPU / dearest, own),
        ]
    return parts


def _cpu_bars(run: Run, top: float, scale: float, own: str) -> list[str]:
    parts, left = [], float(_CPU_LEFT)
    for role in _roles(run):
        width = run.figures[f"{role}_us"] * scale
        parts.append(_bar(left, top, width, role))
        left += width
    return [*parts, _text(left + 8, top + 14, number(round(run.figures["total_us"])), own)]


def _legend(runs: Sequence[Run], baseline: float) -> list[str]:
    parts, left = [], float(_CPU_LEFT)
    for role in dict.fromkeys(role for run in runs for role in _roles(run)):
        parts += [
            _bar(left, baseline - 10, 10, role, 10),
            _text(left + 15, baseline, role, "quiet"),
        ]
        left += 85
    return parts


def _roles(run: Run) -> list[str]:
    """The processes whose CPU the run counted."""
    others = {"total_us", "generator_us"}
    return [
        name.removesuffix("_us")
        for name in run.figures
        if name.endswith("_us") and name not in others
    ]


def _bar(left: float, top: float, width: float, style: str, height: float = _BAR) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(1.0, width):.1f}" height="{height}" '
        f'class="{escape(style)}"/>'
    )


def _text(left: float, baseline: float, text: str, style: str) -> str:
    return f'<text x="{left:.1f}" y="{baseline:.1f}" class="{style.strip()}">{escape(text)}</text>'
