#!/bin/sh
# Sends one message to the Discord webhook DISCORD_ALERT_WEBHOOK_URL:
#   scripts/discord-alert.sh "The backup failed"
#   tail -n 20 backup.log | scripts/discord-alert.sh -
# Settings come from .env beside this folder, or from the environment; arguments go to `rectbot alert` (see its --help).
home=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
rectbot=$home/.venv/bin/rectbot
if [ ! -x "$rectbot" ]; then
    echo "$rectbot is missing; run: make -C $home setup" >&2
    exit 2
fi
RECTBOT_HOME=${RECTBOT_HOME:-$home}
export RECTBOT_HOME
exec "$rectbot" alert "$@"
