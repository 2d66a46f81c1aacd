"""The chart's dashboard and alerts, against the metrics that the code exposes and a real Prometheus."""
