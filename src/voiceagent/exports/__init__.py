"""Records for other people's tools: Prometheus, OpenTelemetry, and traces that Perfetto shows."""
