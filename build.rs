//! Build script: exports the Lua C API from every executable of this package, so that C modules
//! made for Lua 5.1 (lua-cjson, lpeg) find it when they are loaded.

/// The functions of lua.h, lauxlib.h and lualib.h, one a line.
const API: &str = include_str!("src/lua/ffi/exports.txt");

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/lua/ffi/exports.txt");
    for name in API.lines() {
        // Pulled out of the archive although nothing in Rust may call it, and kept visible.
        println!("cargo::rustc-link-arg=-Wl,--undefined={name}");
        println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol={name}");
    }
}
