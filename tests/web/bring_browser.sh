#!/bin/sh
# A browser for the tests of the page: the system's chromium where there is one, Debian's package where it may be installed, playwright's own
# download elsewhere. Where none can be had this says so, and succeeds: those tests are then reported as not run.
# Usage: bring_browser.sh PLAYWRIGHT
playwright=$1

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
own=$("$playwright" install --dry-run chromium 2>/dev/null | sed -n 's/^ *Install location: *//p' | head -n 1)
[ -n "$own" ] && [ -e "$own/INSTALLATION_COMPLETE" ] && exit 0

echo "there is no chromium for the tests of the page: one is brought (once)"
if [ "$(id -u)" = 0 ] && grep -qE '^ID(_LIKE)?=.*debian' /etc/os-release 2>/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    { timeout 120 apt-get update && timeout 600 apt-get install --yes --no-install-recommends chromium; } >/dev/null 2>&1
    # Ubuntu's package is a stub for its shop, which a container cannot use: only what runs counts.
    command -v chromium >/dev/null 2>&1 && chromium --version >/dev/null 2>&1 && exit 0
fi
"$playwright" install chromium >/dev/null 2>&1 && exit 0
echo "no chromium could be had: the tests of the page are not run"
