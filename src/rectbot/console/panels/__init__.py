"""Grafana's panels, drawn by the console from the same JSON.

`fields` reads how values are to look, `ask` gets them, `draw` makes of both what an element shows (data only, so that
it is made once for all who look), `charts` knows ECharts, and `cards` holds the elements.
"""
