#!/bin/sh
# Sees to it that the browser tests have a browser: one that is there, else Playwright's, else they are skipped and say so.
python=$1
for name in ${VOICEAGENT_CHROMIUM:-} chromium chromium-browser google-chrome google-chrome-stable; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
echo "no Chromium or Chrome is here: asking Playwright for one"
timeout 300 "$python" -m playwright install chromium >/dev/null 2>&1 \
  || echo "there is none to be had: the browser tests will be skipped"
exit 0
