#!/bin/sh
# Installs what rectbot needs in a checkout: Python packages in .venv, for which the first argument names the lock file,
# and Debian's packages for what the further ones name (scripts/debian.sh). Works again at no cost, and offline once done.
set -eu
cd "$(dirname "$0")/.."
lock=${1:-requirements.lock}
[ $# -eq 0 ] || shift
venv=.venv
python=${PYTHON:-python3}

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 2; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3 make setup"
[ -x $venv/bin/pip ] || set -- "$@" python
[ $# -eq 0 ] || PYTHON=$python scripts/debian.sh "$@"

# The stamp holds what was installed; the same lock and project again means that there is nothing to do, also offline.
if ! [ -x $venv/bin/python ] || ! $venv/bin/python -c '' 2>/dev/null; then
    say "creating $venv"
    rm -rf $venv
    "$python" -m venv $venv
fi
want=$(cat "$lock" pyproject.toml | sha256sum | cut -d' ' -f1)
stamp="$venv/.installed-$(basename "$lock")"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$want" ]; then
    say "installing the Python packages of $lock"
    {
        $venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock" &&
            $venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    } || fail "pip could not install them and says why above; once the package index can be reached, run this again"
    echo "$want" >"$stamp"
fi
say "ready: $venv/bin/rectbot"
