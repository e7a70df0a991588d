#!/bin/sh
# Write requirements.lock (what runs) and requirements-dev.lock (that, and what tests it).
#
# Both list exact versions with hashes and no URL, for every supported Python and platform.
# Present pins stay unless `--upgrade` is given (or `--upgrade-package NAME`).
# drf-spectacular-sidecar declares Django, but we only serve its static files: Django and what only
# Django needs are taken out, so both files are to be installed with `pip install --no-deps`.
set -eu
cd "$(dirname "$0")/.."

UV=${UV:-.venv/bin/uv}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT INT TERM

compile() {
    "$UV" pip compile pyproject.toml --all-extras --universal --generate-hashes \
        --no-header --no-annotate --quiet "$@"
}

without_django() {
    awk '/^[a-zA-Z0-9]/ { keep = ($0 !~ /^(django|asgiref|sqlparse)==/) } keep' "$1"
}

for lock in requirements.lock requirements-dev.lock; do
    if [ -f "$lock" ]; then cp "$lock" "$WORK/$lock"; fi
done
compile --group dev -o "$WORK/requirements-dev.lock" "$@"
compile --constraint "$WORK/requirements-dev.lock" -o "$WORK/requirements.lock" "$@"

for lock in requirements.lock requirements-dev.lock; do
    without_django "$WORK/$lock" > "$WORK/clean"
    if grep -q '://' "$WORK/clean"; then
        echo "lock: $lock would hold a URL; nothing was written." >&2
        exit 1
    fi
    mv "$WORK/clean" "$WORK/$lock.clean"
done
for lock in requirements.lock requirements-dev.lock; do
    mv "$WORK/$lock.clean" "$lock"
    echo "lock: $lock holds $(grep -c '==' "$lock") packages."
done
