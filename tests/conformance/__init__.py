"""What any server of OpenAI's protocols owes to a client: the same suite against the twin, the service, and others."""
