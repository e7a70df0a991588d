#!/bin/sh
# Make .venv with `ordering` in it: the packages of requirements-dev.lock, hashes checked, then this
# project as an editable install. Does nothing when that is already so.
# PYTHON=/path/to/python chooses the interpreter; otherwise the newest fitting one on PATH is taken.
set -eu
cd "$(dirname "$0")/.."

LOCK=requirements-dev.lock
STAMP=.venv/.installed
FITS='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
VERSION='import sys; print(".".join(map(str, sys.version_info[:3])))'

say() { echo "install: $*"; }
fail() { echo "install: $*" >&2; exit 1; }
fits() { "$1" -c "$FITS" 2>/dev/null; }

# Prints the interpreter to use; explains on stderr when there is none.
find_python() {
    without_venv=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        fits "$candidate" || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
        without_venv=${without_venv:-$candidate}
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv has no venv module; on Debian or Ubuntu run: apt-get install python3-venv"
    elif [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13; unset PYTHON or name another"
    fi
    fail "no Python 3.11, 3.12 or 3.13 found; install one (Debian: apt-get install python3 python3-venv) or set PYTHON=/path/to/python"
}

# What .venv was made from; an equal stamp means there is nothing to do.
fingerprint() {
    pwd
    .venv/bin/python -c "$VERSION"
    cksum "$LOCK" pyproject.toml
}

venv_is_usable() {
    fits .venv/bin/python && .venv/bin/python -c 'import pip' 2>/dev/null || return 1
    [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -c "$VERSION")" = "$(.venv/bin/python -c "$VERSION")" ]
}

[ -z "${PYTHON:-}" ] || find_python >/dev/null
if venv_is_usable; then
    if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ]; then exit 0; fi
else
    python=$(find_python)
    say "making .venv with $python ($("$python" -c "$VERSION"))"
    "$python" -m venv --clear .venv
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
say "installing the $(grep -c '==' "$LOCK") packages of $LOCK into .venv, hashes checked; the first time takes a minute or so"
.venv/bin/python -m pip install --quiet --no-deps --require-hashes -r "$LOCK" ||
    fail "pip could not install $LOCK (its reason is above); is the package index reachable?"
say "installing this project (editable)"
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable . ||
    fail "pip could not install this project (its reason is above)"
fingerprint > "$STAMP"
say "done: .venv/bin/ordering is ready"
