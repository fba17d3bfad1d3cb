# The agent with its local twin. Built from the wheel, run as a user of its own.
# Python 3.13: pocketsphinx has no wheel for 3.12 on ARM.
FROM python:3.13-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE NOTICE constraints.txt ./
COPY src src
COPY web web
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.13-slim-bookworm
# hadolint ignore=DL3008  # of certificates the newest are wanted
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --only-binary :all: -c /tmp/constraints.txt "$(ls /wheels/*.whl)[local]" \
    && rm -rf /wheels /tmp/constraints.txt && useradd --uid 10001 --no-create-home agent
USER 10001
WORKDIR /srv
ENV VOICEAGENT_HOST=0.0.0.0 VOICEAGENT_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["voiceagent", "serve"]
