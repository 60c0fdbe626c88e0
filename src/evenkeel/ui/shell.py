"""What every page that evenkeel writes has around its content: one file, with scripts, styles and data inside."""

from __future__ import annotations

import msgspec
from plotly.offline import get_plotlyjs

from evenkeel.ui.figures import Figure
from evenkeel.ui.markup import Markup, element
from evenkeel.ui.style import STYLE

_DRAW = """
document.querySelectorAll("[data-figure]").forEach(function (place) {
  var figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  Plotly.newPlot(place, figure.data, figure.layout, {responsive: true, displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]});
});
"""


def document(title: str, body: Markup) -> str:
    """The whole page."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{element('title', title)}<style>{STYLE}</style>"
    )
    scripts = f"<script>{get_plotlyjs()}</script><script>{_DRAW}</script>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}{scripts}</body></html>\n'


def drawn_figure(name: str, figure: Figure, how_to_read: str) -> Markup:
    """A figure where it is drawn once the page is open; `name` is its own in the page."""
    # "</" would end the script element, whatever stands around it.
    data = Markup(msgspec.json.encode(figure).decode().replace("</", "<\\/"))
    place = element("div", kind="plot", data_figure=name)
    return element(
        "figure",
        place,
        element("figcaption", how_to_read),
        element("script", data, type="application/json", id=name),
    )
