"""Figures from plain values, as plotly takes them: one dict each, with `data` and `layout`.

They know nothing of rehearsals, so that live pages can use them on what a running region shows. Moments are texts in
ISO 8601; a line's points are where it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figure = dict[str, Any]

# Told apart also by people who do not see all colours (Okabe and Ito, 2008).
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999933", "#882255")
GREY = "#8a8f98"
ALARM = "#d62f2f"
INK = "#1d2530"


@dataclass(frozen=True, slots=True)
class Span:
    """Something that lasts, to be shaded."""

    start: str
    end: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment worth a line across the figure."""

    at: str
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """A step line: from each moment on, its value."""

    name: str
    at: Sequence[str]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Write:
    """One publication: when, which generation, by whom."""

    at: str
    generation: int
    by: str
    note: str = ""


def steps(title: str, lines: Sequence[Line], unit: str, top: float | None = None) -> Figure:
    """Step lines on one axis."""
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": line.name,
            "x": list(line.at),
            "y": list(line.values),
            "line": {"shape": "hv", "width": 2, "color": PALETTE[number % len(PALETTE)]},
            "hovertemplate": f"%{{x|%H:%M:%S}}  %{{y:.4g}}{unit}<extra>{line.name}</extra>",
        }
        for number, line in enumerate(lines)
    ]
    highest = max((value for line in lines for value in line.values), default=0.0)
    # A flat zero is a result: it must not look like a figure that failed to load.
    upper = top if top is not None else max(highest * 1.08, 1.0)
    layout = _layout(title, {"title": {"text": unit.strip() or None}, "range": [-0.03 * upper, upper]})
    return {"data": data, "layout": layout}


def generations(title: str, writes: Sequence[Write], plans: Line, empty: Sequence[Span]) -> Figure:
    """What an endpoint showed: each publication by its writer, beside the newest plan; times without answer shaded."""
    writers = sorted({write.by for write in writes})
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": plans.name,
            "x": list(plans.at),
            "y": list(plans.values),
            "line": {"shape": "hv", "width": 1.5, "color": GREY, "dash": "dot"},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "the answer",
            "x": [write.at for write in writes],
            "y": [write.generation for write in writes],
            "line": {"shape": "hv", "width": 1, "color": "#b9c0ca"},
            "hoverinfo": "skip",
        },
    ]
    for number, writer in enumerate(writers):
        own = [write for write in writes if write.by == writer]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": writer,
                "x": [write.at for write in own],
                "y": [write.generation for write in own],
                "text": [write.note for write in own],
                "marker": {"size": 7, "color": PALETTE[number % len(PALETTE)], "symbol": _symbol(number)},
                "hovertemplate": "%{x|%H:%M:%S}  generation %{y} %{text}<extra>" + writer + "</extra>",
            }
        )
    layout = _layout(title, {"title": {"text": "generation"}, "rangemode": "tozero"})
    layout["shapes"] = [_box(span, "rgba(214,47,47,0.16)") for span in empty]
    layout["annotations"] = [
        {
            "x": span.start,
            "y": 1,
            "xref": "x",
            "yref": "paper",
            "text": span.label,
            "showarrow": False,
            "xanchor": "left",
            "yanchor": "top",
            "font": {"color": ALARM, "size": 13},
        }
        for span in empty
        if span.label
    ]
    return {"data": data, "layout": layout}


def _symbol(number: int) -> str:
    return ("circle", "diamond", "square", "triangle-up", "x", "star")[number % 6]


def _box(span: Span, colour: str) -> dict[str, Any]:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": span.start,
        "x1": span.end,
        "y0": 0,
        "y1": 1,
        "fillcolor": colour,
        "line": {"width": 0},
        "layer": "below",
    }


def marked(figure: Figure, marks: Sequence[Mark]) -> Figure:
    """The figure with a thin numbered line at each mark."""
    layout = dict(figure["layout"])
    layout["shapes"] = [
        *layout.get("shapes", []),
        *(
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": mark.at,
                "x1": mark.at,
                "y0": 0,
                "y1": 1,
                "line": {"width": 1, "color": GREY, "dash": "dash"},
                "layer": "below",
            }
            for mark in marks
        ),
    ]
    layout["annotations"] = [
        *layout.get("annotations", []),
        *(
            {
                "x": mark.at,
                "y": 1.0,
                "xref": "x",
                "yref": "paper",
                "text": mark.label,
                "showarrow": False,
                "yanchor": "bottom",
                "font": {"size": 11, "color": "#4a5361"},
            }
            for mark in marks
        ),
    ]
    return {"data": figure["data"], "layout": layout}


def numbered(moments: Sequence[tuple[float, int, str]], close: float) -> list[Mark]:
    """A mark for each moment: a value that grows with time, its number, and the time. Those less than `close` apart
    share one: `1-3`."""
    groups: list[list[tuple[float, int, str]]] = []
    for each in sorted(moments):
        if groups and each[0] - groups[-1][-1][0] < close:
            groups[-1].append(each)
        else:
            groups.append([each])
    return [Mark(group[0][2], _numbers([number for _, number, _ in group])) for group in groups]


def _numbers(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{min(numbers)}-{max(numbers)}"


def zoomed(figure: Figure, start: str, end: str) -> Figure:
    """The figure showing this part first; a double click shows all of it."""
    axis = {**figure["layout"]["xaxis"], "range": [start, end]}
    return {"data": figure["data"], "layout": {**figure["layout"], "xaxis": axis}}


def _layout(title: str, yaxis: Mapping[str, Any]) -> dict[str, Any]:
    grid = {"gridcolor": "#e8ebef", "zeroline": False, "linecolor": "#c8ced6"}
    return {
        "title": {"text": title, "font": {"size": 15, "color": INK}, "x": 0, "xanchor": "left", "pad": {"l": 4}},
        "xaxis": {"type": "date", "tickformat": "%H:%M", "hoverformat": "%H:%M:%S", **grid},
        "yaxis": {**grid, **yaxis},
        "legend": {"orientation": "h", "y": -0.18, "x": 0},
        "margin": {"l": 62, "r": 16, "t": 66, "b": 30},
        "height": 340,
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "hovermode": "closest",
        "showlegend": True,
    }
