#!/bin/sh
# Everything that must hold: format, lints, documentation, all tests, and OpenResty's own suites.
# Installs what they need.
#
#   sh tests/run.sh [TEST NAME…]
#
# Names and options go to `cargo test`, and the suites do not run then. The last line counts: N
# passed, N failed. The suites get what is left of MINUTES, by default 26, and say what they did not
# come to.
set -eu
began=$(date +%s)
cd "$(dirname "$0")/.."
if ! command -v cargo >/dev/null && [ -r "$HOME/.cargo/env" ]; then . "$HOME/.cargo/env"; fi

step() { echo "== $(date +%T) $*" >&2; }

step packages
sh tests/setup.sh tests
step format
cargo fmt --check
step lints
cargo clippy --quiet --locked --profile dev-opt --all-targets -- -D warnings
step documentation
RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --profile dev-opt --no-deps
step tests
output=$(mktemp)
trap 'rm -f "$output"' EXIT
trap 'exit 1' HUP INT TERM
{
    status=0
    cargo test --locked --profile dev-opt --no-fail-fast "$@" 2>&1 || status=$?
    if [ $# = 0 ]; then
        step "OpenResty's suites"
        minutes=$((${MINUTES:-26} - ($(date +%s) - began) / 60))
        [ $minutes -ge 3 ] || minutes=3
        cargo test --locked --profile dev-opt --test conformance -- --within $minutes 2>&1 ||
            status=$?
    fi
    echo "cargo test ended with status $status"
} | tee "$output"

awk '
    /^test result: / { passed += $4; failed += $6 }
    /^cargo test ended with status / { status = $NF }
    END {
        printf "%d passed, %d failed\n", passed, failed
        exit (status || failed || !passed)
    }
' "$output"
