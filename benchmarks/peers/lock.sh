#!/bin/sh
# Write requirements.lock from requirements.in: exact versions with hashes and no URL, for every supported platform.
# Present pins stay unless `--upgrade` is given (or `--upgrade-package NAME`).
set -eu
cd "$(dirname "$0")"

UV=${UV:-../../.venv/bin/uv}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT INT TERM

if [ -f requirements.lock ]; then cp requirements.lock "$WORK/requirements.lock"; fi
"$UV" pip compile requirements.in --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --quiet -o "$WORK/requirements.lock" "$@"
if grep -q '://' "$WORK/requirements.lock"; then
    echo "lock: requirements.lock would hold a URL; nothing was written." >&2
    exit 1
fi
cp "$WORK/requirements.lock" requirements.lock
echo "lock: benchmarks/peers/requirements.lock holds $(grep -c '==' requirements.lock) packages."
