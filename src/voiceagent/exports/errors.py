"""Why an export cannot be had."""

NO_OTEL = "traces need OpenTelemetry: pip install 'voiceagent[otel]'."


class ExportError(Exception):
    """An export cannot begin; the message is a sentence for people."""
