#!/bin/sh
# Installs the Debian packages that Moongate is built with; with `tests`, those that its tests
# compare it with, too, and OpenResty's own suites from Debian's sources; with `bench`, what the
# benchmarks need besides. At once done when they are there.
#
#   sh tests/setup.sh build|tests|bench
#
# It needs root or sudo only when something is missing. Debian starts nginx, haproxy, redis,
# memcached and prometheus as soon as they are installed; here they neither start nor come back at
# boot, and one that was there before is not touched.
set -eu

packages='build-essential cmake libssl-dev pkg-config'
tests='curl dpkg-dev git iproute2 iptables libnginx-mod-http-echo
    libnginx-mod-http-headers-more-filter libnginx-mod-http-lua libnginx-mod-http-memc
    libnginx-mod-http-set-misc libtest-base-perl lua-cjson lua-lpeg lua-resty-lrucache memcached
    nginx perl procps prometheus python3-grpcio redis-server strace util-linux wrk'
# Suites, by what they are called here and by Debian's source.
suites='lua:libnginx-mod-http-lua echo:libnginx-mod-http-echo
    headers-more:libnginx-mod-http-headers-more-filter set-misc:libnginx-mod-http-set-misc
    redis:lua-nginx-redis memcached:lua-nginx-memcached string:lua-nginx-string
    cookie:lua-nginx-cookie'
# Lua alone, whose packages would bring a whole nginx with them: unpacked beside what cargo builds.
libraries='lua-nginx-cookie lua-nginx-dns lua-nginx-memcached lua-nginx-redis lua-nginx-string'
case ${1-} in
    build) ;;
    tests) packages="$packages $tests" ;;
    bench) packages="$packages $tests bolt-19 haproxy nghttp2-client openssl valgrind" ;;
    packages) packages=$2 ;; # by itself, as root
    *)
        echo "usage: sh $0 build|tests|bench" >&2
        exit 2
        ;;
esac

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "$0: neither root nor sudo is here to run: $*" >&2
        exit 1
    fi
}

# Unpacks the libraries, which needs no root.
unpack_libraries() {
    case $1 in tests | bench) ;; *) return 0 ;; esac
    folder=$(cd "$(dirname "$0")/.." && pwd)/target/lua-libraries
    [ ! -e "$folder/nginx/redis.lua" ] || return 0
    echo "unpacking $libraries" >&2
    work=$(mktemp -d)
    (
        cd "$work"
        # shellcheck disable=SC2086
        apt-get -qq download $libraries 2>/dev/null || {
            as_root apt-get -qq update
            apt-get -qq download $libraries
        }
        for archive in *.deb; do dpkg -x "$archive" .; done
    )
    mkdir -p "$folder"
    cp -R "$work/usr/share/lua/5.1/nginx" "$folder"
    rm -rf "$work"
}

# Unpacks the suites from the sources of Debian's packages; apt's own lists know no sources, so that
# it gets lists beside them, made from the same addresses.
unpack_suites() {
    [ "$1" = tests ] || return 0
    folder=$(cd "$(dirname "$0")/.." && pwd)/target/suites
    [ ! -e "$folder/cookie/t" ] || return 0
    echo "unpacking the suites of $suites" >&2
    work=$(mktemp -d)
    (
        cd "$work"
        mkdir -p lists/partial sources.d
        for list in /etc/apt/sources.list.d/*.sources; do
            [ ! -e "$list" ] || sed 's/^Types:.*/Types: deb-src/' "$list" >sources.d/"${list##*/}"
        done
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            sed -n 's/^deb\(-src\)\{0,1\} /deb-src /p' >sources.list
        apt_with_sources() {
            apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" \
                -o Dir::Etc::sourceparts="$work/sources.d" -o Dir::State::lists="$work/lists" \
                -o APT::Sandbox::User=root "$@"
        }
        apt_with_sources update
        for suite in $suites; do
            mkdir -p "$folder/${suite%%:*}"
            apt_with_sources source --download-only --tar-only "${suite#*:}" >/dev/null
            tar xf "${suite#*:}"_*.orig.tar.gz -C "$folder/${suite%%:*}" --strip-components=1
        done
    )
    rm -rf "$work"
}

missing=
for package in $packages; do
    is_installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
    unpack_libraries "$1"
    unpack_suites "$1"
    exit 0
fi

if [ "$(id -u)" != 0 ]; then
    as_root sh "$0" packages "$missing"
    unpack_libraries "$1"
    unpack_suites "$1"
    exit 0
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
for server in nginx haproxy redis-server memcached prometheus; do
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

for server in nginx haproxy redis-server memcached prometheus; do
    case " $had " in *" $server "*) continue ;; esac
    if is_installed $server; then update-rc.d $server disable >/dev/null 2>&1 || true; fi
done

unpack_libraries "$1"
unpack_suites "$1"
