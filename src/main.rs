//! The program `moongate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    moongate::cli::main(std::env::args_os())
}
