#!/bin/sh
# Builds Moongate, runs it with the default configuration in the foreground, and asks it twice: once
# as any client, once as one that wants the canary. Installs what the build needs.
#
#   sh conf/demo.sh
#
# Ctrl-C stops it.
set -eu
cd "$(dirname "$0")/.."
if ! command -v cargo >/dev/null && [ -r "$HOME/.cargo/env" ]; then . "$HOME/.cargo/env"; fi

sh tests/setup.sh build
cargo build --locked --profile dev-opt

url=http://127.0.0.1:8000/
show() {
    echo
    echo "\$ curl -i $* $url"
    curl --silent --show-error --include "$@" "$url"
}
(
    if curl --silent --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "$url"; then
        show
        show -H 'X-Canary-Version: v2'
        printf '\nIt goes on serving %s until Ctrl-C.\n' "$url"
    fi
) </dev/null &
exec cargo run --quiet --locked --profile dev-opt -- -p "$PWD" -c conf/moongate.conf
