"""What people look at: figures, pages, summaries. Figures take plain values, so that reports and live pages share them.

Layout, lowest first:

    figures    plotly figures from plain values
    summary    a rehearsal or a search on a terminal
    markdown   a rehearsal as Markdown
    shell      what every page has around its content
    page       a rehearsal as one HTML page
    fleet_night  a fleet's rehearsal, on a terminal and as one HTML page
"""
