#!/bin/sh
# A sandbox for test files: network, processes and mounts of its own. Nothing leaves it; an address
# that is not there swallows what is sent to it. As root, or by sudo:
#
#   sh sandbox.sh BINARY SUITE
#
# SUITE is a suite's folder, which is copied. Then files.pl reads the names of files from stdin.
set -eu
if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null; then
    exec sudo CONFORMANCE_MAIN="$CONFORMANCE_MAIN" CONFORMANCE_HTTP="$CONFORMANCE_HTTP" sh "$0" "$@"
fi
if ! unshare --net --pid --mount --fork true 2>/dev/null; then
    echo "$0: this system refuses namespaces (unshare --net --pid --mount); run it as root, outside" \
        "of a container or in a privileged one" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
binary=$(readlink -f "$1")
suite=$(readlink -f "$2")
export here binary suite
exec unshare --net --pid --mount --fork --mount-proc sh -euc '
    ip link set lo up
    # A neighbour that never answers is the way to everywhere: what connects there times out.
    ip link add v0 type veth peer name v1
    ip addr add 10.255.255.1/24 dev v0
    ip link set v0 up
    ip link set v1 up
    ip route add default via 10.255.255.254 dev v0
    ip neigh add 10.255.255.254 lladdr 02:00:00:00:00:01 dev v0 nud permanent
    ip route add blackhole 0.0.0.0/8
    ip addr add 106.184.1.99/32 dev lo
    ip addr add 172.105.207.225/32 dev lo
    # Where the suite expects a refusal, and where silence.
    iptables -I OUTPUT -p udp --dport 10086 -j REJECT
    iptables -I OUTPUT -p tcp --dst 127.0.0.2 --dport 12345 -j DROP
    iptables -I OUTPUT -p udp --dst 127.0.0.2 --dport 12345 -j DROP

    # All files are copies in memory: what a test writes is gone with the sandbox.
    mount -t tmpfs tmpfs /mnt
    mkdir -m 1777 /mnt/tmp /mnt/suite
    cp "$binary" /mnt/server
    cp -r "$suite/." /mnt/suite
    cp -r "$here" /mnt/runner
    chmod -R a+rwX /mnt/suite
    chmod -R a+rX /mnt/runner /mnt/server
    echo "nameserver 127.0.0.1" >/mnt/resolv.conf
    mount --bind /mnt/resolv.conf /etc/resolv.conf
    mount --bind /mnt/tmp /tmp
    ulimit -c 0
    ulimit -n 4096

    cd /mnt/suite
    perl /mnt/runner/internet.pl </dev/null
    memcached -u nobody -l 127.0.0.1 -p 11211 -U 11211 -m 64 -d
    redis-server --port 6379 --save "" --appendonly no --daemonize yes --dir /tmp --logfile "" \
        >/dev/null
    exec perl /mnt/runner/files.pl
'
