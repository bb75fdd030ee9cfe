#!/bin/sh
# A folder of the host that is mounted as /work is the project folder: docker run --rm -v "$PWD:/work" rectbot init
# Nothing runs as root, but where root owns that folder: it runs as whoever does, or as 10001.
set -eu
[ "${1:-}" != rectbot ] || shift
user=10001:10001
if [ -d /work ]; then
    cd /work
    export RECTBOT_HOME=/work
    user=$(stat -c %u:%g /work)
fi
if [ "$(id -u)" -eq 0 ]; then
    exec setpriv --reuid="${user%:*}" --regid="${user#*:}" --clear-groups --no-new-privs rectbot "$@"
fi
exec rectbot "$@"
