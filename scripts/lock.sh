#!/bin/sh
# Renews the lock files from pyproject.toml. They carry hashes and no index address, so any mirror can serve them.
set -eu
cd "$(dirname "$0")/.."
common="--universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet"
# shellcheck disable=SC2086
uv pip compile $common "$@" pyproject.toml --extra all --group build -o requirements.lock
# shellcheck disable=SC2086
uv pip compile $common "$@" pyproject.toml --extra all --group dev -o requirements-dev.lock
# Libraries that the tests let talk to the local Discord: each has a place of its own, since some share their packages.
for library in py-cord nextcord disnake hikari; do
    wanted=$library
    [ "$library" != nextcord ] || wanted="nextcord setuptools<81" # its pkg_resources, which nextcord does not declare
    # shellcheck disable=SC2086
    printf '%s\n' $wanted | uv pip compile $common "$@" - -o "tests/libraries/$library.lock"
done
