#!/bin/sh
# Installs the Debian packages that Moongate is built with; with `tests`, those that its tests
# compare it with, too; with `bench`, what the benchmarks need besides. At once done when they are
# there.
#
#   sh tests/setup.sh build|tests|bench
#
# It needs root or sudo only when something is missing. Debian starts nginx and haproxy as soon as
# they are installed; here they neither start nor come back at boot, and one that was there before
# is not touched.
set -eu

packages='build-essential cmake libssl-dev pkg-config'
tests='curl git libnginx-mod-http-lua lua-cjson lua-lpeg nginx strace wrk'
case ${1-} in
    build) ;;
    tests) packages="$packages $tests" ;;
    bench) packages="$packages $tests haproxy nghttp2-client openssl valgrind" ;;
    *)
        echo "usage: sh $0 build|tests|bench" >&2
        exit 2
        ;;
esac

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for package in $packages; do
    is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "$0: neither root nor sudo is here to run: apt-get install$missing" >&2
        exit 1
    fi
    exec sudo sh "$0" "$@"
fi

policy=/usr/sbin/policy-rc.d
log=$(mktemp)
forbids_starts=
clean_up() {
    rm -f "$log"
    [ -z "$forbids_starts" ] || rm -f "$policy"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

had=
for server in nginx haproxy; do
    if is_installed $server; then had="$had $server"; fi
done
if [ ! -e "$policy" ]; then
    forbids_starts=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

apt() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1 && return
    cat "$log" >&2
    echo "$0: apt-get $* failed" >&2
    exit 1
}

echo "installing$missing" >&2
apt update
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing

for server in nginx haproxy; do
    case " $had " in *" $server "*) continue ;; esac
    if is_installed $server; then update-rc.d $server disable >/dev/null 2>&1 || true; fi
done
