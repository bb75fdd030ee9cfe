#!/bin/sh
# Measures this host and its bot, and pushes once. For cron:
#   * * * * * /path/to/rectbot/scripts/prometheus-push.sh
# Settings come from .env beside this folder, or from the environment; arguments go to `rectbot push` (see its --help).
home=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
rectbot=$home/.venv/bin/rectbot
if [ ! -x "$rectbot" ]; then
    echo "$rectbot is missing; run: make -C $home setup" >&2
    exit 2
fi
RECTBOT_HOME=${RECTBOT_HOME:-$home}
export RECTBOT_HOME
exec "$rectbot" push "$@"
