"""Why an export cannot be had."""


class ExportError(Exception):
    """An export cannot begin; the message is a sentence for people."""
