"""The dashboards as code: Python in, Grafana's JSON out; and what it takes to show that JSON elsewhere (`model`)."""
