#!/bin/sh
# Installs what rectbot needs on a Debian machine: Debian's servers, and the Python packages of the lock file in .venv.
# Works again at no cost, and offline once done. Called by 'make setup'. 'scripts/setup.sh packages' is the part that
# needs root, for a machine where another user runs the rest.
set -eu
cd "$(dirname "$0")/.."
only_packages=false
if [ "${1:-}" = packages ]; then only_packages=true; shift; fi
lock=${1:-requirements.lock}
venv=.venv
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
want redis-server redis-server
want prometheus prometheus
want prometheus-pushgateway prometheus-pushgateway
want prometheus-alertmanager prometheus-alertmanager
want nginx nginx-light
# The push proxy needs nginx's `stream`: built into upstream's nginx, a module of its own in Debian's.
[ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || PATH=$path nginx -V 2>&1 | grep -Eq -- '--with-stream( |$)' ||
    missing="$missing libnginx-mod-stream"
case $lock in *dev*)
    want chromium chromium  # the console's tests
    want etcd etcd-server  # the lease store's
    want etcdctl etcd-client
    # mypyc compiles the simulator: a compiler, what C programs include, and the headers of Debian's Python (of another
    # Python they are where that is).
    want gcc gcc
    [ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null || true)
    case $headers in /usr/include/*) [ -e "$headers/Python.h" ] || missing="$missing ${headers##*/}-dev" ;; esac ;;
esac
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3 make setup"
"$python" -c 'import ensurepip, venv' 2>/dev/null || [ -x $venv/bin/pip ] || missing="$missing python3-venv"

# Not apt-get itself: it would start the servers too, which then hold the ports of ours.
by_root="$PWD/scripts/setup.sh packages${1:+ $1}"
if [ -n "$missing" ]; then
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
fi

if $only_packages; then say "Debian's packages are there"; exit 0; fi

# The stamp holds what was installed; the same lock and project again means that there is nothing to do, also offline.
[ -x $venv/bin/python ] && $venv/bin/python -c '' 2>/dev/null || { say "creating $venv"; rm -rf $venv; "$python" -m venv $venv; }
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
