"""The three streams: clients of speech to text, the language model and text to speech, each behind a small typed port."""
