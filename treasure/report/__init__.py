"""Figures in the style of mplhep and self-contained HTML pages, from plain arrays and numbers.

`treasure.report.figures` draws and saves, `treasure.report.html` makes the pages.
"""
