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
    printf '\n$ %s\n' "$1"
    eval "$1"
}
(
    tries=60
    until curl --silent --fail --output /dev/null --max-time 2 "$url"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || exit 1
        sleep 1
    done
    show "curl -si $url"
    show "curl -si -H 'X-Canary-Version: v2' $url"
    printf '\nServing %s until Ctrl-C; logs are in logs/.\n' "$url"
) </dev/null &
exec cargo run --quiet --locked --profile dev-opt -- -p "$PWD" -c conf/moongate.conf
