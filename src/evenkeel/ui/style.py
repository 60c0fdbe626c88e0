"""The look of pages that evenkeel writes: one sheet, no fonts or images from elsewhere."""

from __future__ import annotations

STYLE = """
:root { --ink: #1d2530; --quiet: #5b6573; --line: #dfe3e8; --good: #0b7a4b; --bad: #c22a2a; --paper: #ffffff; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
header .kind { margin: 0; color: var(--quiet); text-transform: uppercase; letter-spacing: .08em; font-size: 12px; }
h1 { margin: 2px 0 4px; font-size: 28px; line-height: 1.2; }
h2 { font-size: 20px; margin: 0 0 8px; }
h3 { font-size: 15px; margin: 26px 0 8px; }
.facts { color: var(--quiet); margin: 0 0 10px; }
.story { max-width: 78ch; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 20px 22px;
  margin-top: 18px; }
section.columns { background: none; border: 0; padding: 0; display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
.column { background: var(--paper); border: 1px solid var(--line); border-top: 5px solid var(--good);
  border-radius: 8px; padding: 16px 20px; }
.column.bad { border-top-color: var(--bad); }
.column .verdict { margin: -4px 0 10px; color: var(--quiet); }
.tile { display: flex; align-items: baseline; gap: 10px; padding: 5px 0; border-top: 1px solid var(--line); }
.tile b { font-size: 20px; white-space: nowrap; font-variant-numeric: tabular-nums; }
.column.bad .tile b { color: var(--bad); }
.column.good .tile b { color: var(--good); }
.tile span { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--quiet); border-bottom: 1px solid var(--line);
  padding: 4px 14px 4px 0; }
td { border-bottom: 1px solid #eef0f3; padding: 4px 14px 4px 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child, td.nowrap { white-space: nowrap; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
.quiet { color: var(--quiet); }
.alarm td, li.alarm { color: var(--bad); }
.alarm .quiet { color: var(--bad); }
time { font-variant-numeric: tabular-nums; white-space: nowrap; font-weight: 600; }
ol.account { list-style: none; padding: 0; margin: 0; }
ol.account li { padding: 3px 0 3px 74px; text-indent: -74px; }
ol.account time { display: inline-block; width: 74px; text-indent: 0; }
figure { margin: 24px 0 0; }
figcaption { color: var(--quiet); font-size: 14px; max-width: 90ch; margin-top: 4px; }
.plot { min-height: 340px; }
details { margin-top: 24px; }
summary { cursor: pointer; font-weight: 600; }
code { font: 13px/1.4 ui-monospace, monospace; background: #f0f2f5; padding: 1px 4px; border-radius: 3px;
  overflow-wrap: anywhere; }
@media print { body { background: none; } section { break-inside: avoid; } }
"""
