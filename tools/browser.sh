#!/bin/sh
# Chromium and its driver for tests/book: from Debian's packages where they are missing and may be installed.
set -u
there() { command -v chromium && command -v chromedriver; }
there >/dev/null && exit 0
if [ "$(id -u)" = 0 ]; then root=env; else root="sudo -n"; fi
if command -v apt-get >/dev/null && $root true 2>/dev/null; then
  echo "Installing Chromium and its driver from the packages chromium and chromium-driver"
  $root apt-get update -qq
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium chromium-driver >/dev/null
fi
there >/dev/null || echo "chromium or chromedriver is missing and could not be installed: the tests in a browser" \
  "are skipped, and with CI=true they fail. On Debian: apt-get install chromium chromium-driver" >&2
