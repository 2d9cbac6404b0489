"""Charts as SVG that the server draws: no script, no style, and their figures as a table for those
who cannot see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend.usage.schemas import UsageDay

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_WIDTH, _HEIGHT = 720, 180
_LEFT, _BOTTOM, _TOP = 36, 22, 8
_GAP = 0.25


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of what is counted; ``name`` is also the class that colours it."""

    name: str
    title: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of a column, in the chart's units."""

    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A figure at an axis; ``anchor`` is the part of its text that is at ``x``."""

    text: str
    x: float
    y: float
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked columns; the template ``chart.html`` draws them."""

    labels: Sequence[str]
    series: Sequence[Series]

    width: int = _WIDTH
    height: int = _HEIGHT

    @property
    def top(self) -> int:
        """The figure at the top of the scale: 1, 2 or 5 and zeros."""
        most = max((sum(column) for column in self.columns), default=0)
        step = 1
        while True:
            for factor in (1, 2, 5):
                if step * factor >= most:
                    return step * factor
            step *= 10

    @property
    def columns(self) -> list[tuple[int, ...]]:
        """The values of each column, in the order of the series."""
        return list(zip(*(each.values for each in self.series), strict=True))

    @property
    def bars(self) -> list[Bar]:
        """What to draw."""
        room = (_WIDTH - _LEFT) / max(1, len(self.labels))
        scale = (_HEIGHT - _BOTTOM - _TOP) / self.top
        found: list[Bar] = []
        for number, column in enumerate(self.columns):
            y = float(_HEIGHT - _BOTTOM)
            for each, value in zip(self.series, column, strict=True):
                height = value * scale
                y -= height
                if value:
                    x = _LEFT + number * room + room * _GAP / 2
                    found.append(
                        Bar(
                            each.name,
                            round(x, 1),
                            round(y, 1),
                            round(room * (1 - _GAP), 1),
                            round(height, 1),
                        )
                    )
        return found

    @property
    def ticks(self) -> list[Tick]:
        """The figures of the scale, and some labels below."""
        room = (_WIDTH - _LEFT) / max(1, len(self.labels))
        every = max(1, len(self.labels) // 6)
        below = [
            Tick(label, round(_LEFT + (number + 0.5) * room, 1), _HEIGHT - 6, "middle")
            for number, label in enumerate(self.labels)
            if number % every == 0
        ]
        return [Tick(str(self.top), 0, _TOP + 10), Tick("0", 0, _HEIGHT - _BOTTOM), *below]

    @property
    def base(self) -> int:
        """Where the columns stand."""
        return _HEIGHT - _BOTTOM

    @property
    def left(self) -> int:
        """Where the columns begin."""
        return _LEFT


def outcomes_chart(days: Sequence[UsageDay]) -> Chart:
    """What became of the posts of each day, the oldest first."""
    return Chart(
        labels=[short_day(day.date) for day in days],
        series=[
            Series("stored", "Received", [day.submissions - day.held for day in days]),
            Series("held", "Held", [day.held for day in days]),
            Series("spam", "Spam", [day.spam for day in days]),
            Series("rejected", "Refused", [sum((day.rejected or {}).values()) for day in days]),
        ],
    )


def short_day(date: str) -> str:
    """A day without its year: ``7 Jun``."""
    return f"{int(date[8:10])} {_MONTHS[int(date[5:7]) - 1]}"
