#!/bin/sh
# Installs Debian packages that are missing, as root or through sudo. Which: 'servers' of 'rectbot up', what the 'tests'
# need beside them, 'python' for a virtual environment. Several may be given; what is there costs nothing.
set -eu
python=${PYTHON:-python3}
path="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 2; }
has() { PATH=$path command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then env "$@"; else sudo env "$@"; fi
}

# Debian starts and enables a service when its package is installed. We run these servers ourselves, so for the packages
# that we install (and only for those) neither may happen. policy-rc.d is Debian's own way to forbid the start.
install_packages() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
    fi
    say "installing $* (apt)"
    installed >"$before"
    as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 ||
        { say "refreshing the package lists"; as_root apt-get update -qq >"$log" 2>&1 || true
          as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1; } ||
        { tail -n 5 "$log" >&2; fail "apt could not install: $*"; }
    # The unit may come with a dependency (nginx-common), so look at everything that is new.
    for package in $(installed | comm -13 "$before" -); do
        for unit in $(dpkg -L "$package" | sed -n 's,.*/systemd/system/\([^/@]*\.\(service\|timer\)\)$,\1,p'); do
            disable "$unit"
        done
    done
    [ -e $policy ] && as_root rm -f $policy
    trap - EXIT INT TERM
}

installed() { dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii  *//p' | sort; }

disable() {
    if has systemctl; then as_root systemctl --no-reload disable "$1" >/dev/null 2>&1 || true; fi
    name=${1%.service}
    if [ -e "/etc/init.d/$name" ] && has update-rc.d; then as_root PATH="$path" update-rc.d "$name" disable >/dev/null 2>&1 || true; fi
}

missing=""
want() { has "$1" || missing="$missing $2"; }

want_servers() {
    want redis-server redis-server
    want prometheus prometheus
    want prometheus-pushgateway prometheus-pushgateway
    want prometheus-alertmanager prometheus-alertmanager
    want nginx nginx-light
    # The push proxy needs nginx's `stream`: built into upstream's nginx, a module of its own in Debian's.
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || PATH=$path nginx -V 2>&1 | grep -Eq -- '--with-stream( |$)' ||
        missing="$missing libnginx-mod-stream"
}

want_tests() {
    want chromium chromium  # the console's tests
    want crontab cron  # what starts a site's bot where there is no systemd
    want etcd etcd-server  # the lease store's
    want etcdctl etcd-client
    # The history's. Debian keeps its servers out of PATH; a cluster of its own is neither wanted nor started.
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
    # mypyc compiles the simulator: a compiler, what C programs include, and the headers of Debian's Python (of another
    # Python they are where that is).
    want gcc gcc
    [ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null || true)
    case $headers in /usr/include/*) [ -e "$headers/Python.h" ] || missing="$missing ${headers##*/}-dev" ;; esac
}

want_python() { "$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"; }

[ $# -gt 0 ] || fail "name what to install: servers, tests, python"
for group in "$@"; do
    case $group in
        servers | tests | python) "want_$group" ;;
        *) fail "$group: there are servers, tests and python" ;;
    esac
done
[ -n "$missing" ] || exit 0

# Not apt-get itself: it would start the servers too, which then hold the ports of ours.
by_root="$(readlink -f -- "$0") $*"
if [ "$(id -u)" -ne 0 ] && ! has sudo; then
    fail "missing Debian packages:$missing; there is no sudo here, so ask root to run: $by_root"
fi
has apt-get || fail "missing packages:$missing; this is not Debian, so install them by hand"
if [ "$(id -u)" -ne 0 ] && [ ! -t 0 ] && ! sudo -n true 2>/dev/null; then
    fail "missing Debian packages:$missing; sudo needs a password here, so run: sudo $by_root"
fi
log=$(mktemp)
before=$(mktemp)
# shellcheck disable=SC2086
install_packages $missing
rm -f "$log" "$before"
