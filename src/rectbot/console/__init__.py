"""The web page: both sites as they are now, the dashboards, the log, and the operator's acts.

It is served by the hub's process (`rectbot hub serve`), and is imported only there. docs/console.md says who can do
what, and how that is protected.
"""
