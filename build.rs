//! Build script: links what the binary must export.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
