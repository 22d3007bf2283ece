//! The short table of a run, written between README's markers.

use crate::Options;
use crate::contestant::{MOONGATE, NAMES, REFERENCE};
use crate::growth::Growth;
use crate::measure::Sample;
use crate::report::{Measured, cell, circumstances, interval, lua_share};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Replaces what stands between the markers.
///
/// # Panics
/// When README.md has no markers or cannot be written.
pub fn write(all: &[Measured], growth: &Growth, options: &Options) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md is there");
    let (begin, end) = ("<!-- measured -->\n", "<!-- end of measured -->");
    let start = readme.find(begin).expect("README has the marker") + begin.len();
    let length = readme[start..].find(end).expect("and its end");
    let text = table(all, growth, options);
    let (before, after) = (&readme[..start], &readme[start + length..]);
    fs::write(&path, format!("{before}{text}{after}")).expect("README.md is writable");
}

/// A line a row; CPU of all servers, then Moongate beside nginx with Lua.
fn table(all: &[Measured], growth: &Growth, options: &Options) -> String {
    let mut text = circumstances(options)
        + "\n\nCPU µs a request; the ratio is Moongate's to nginx + lua's, paired by round, with \
           its 95 % interval;\nthe last two columns are Moongate's and nginx + lua's.\n\n|";
    for name in NAMES {
        let _ = write!(text, " | {name}");
    }
    text += " | ratio | 95 % | requests/s | p99 ms |\n|---|---|---|---|---|---|---|---|---|\n";
    for measured in all.iter().chain(&growth.measured) {
        let _ = write!(text, "| {}", measured.title);
        for name in NAMES {
            let _ = write!(text, " | {}", cell(measured.median(name, Sample::cpu_us), 1));
        }
        let (ratio, low, high) = measured.ratio(MOONGATE);
        let both = |value: fn(&Sample) -> f64, digits| {
            let of = |name| cell(measured.median(name, value), digits);
            format!("{} / {}", of(MOONGATE), of(REFERENCE))
        };
        let interval = interval(low, high);
        let (rate, p99) = (both(Sample::rate, 0), both(|it| it.p99_ms, 1));
        let _ = writeln!(text, " | {} | {interval} | {rate} | {p99} |", cell(ratio, 2));
    }
    for line in [lua_share(all), growth.memory.clone()] {
        if !line.is_empty() {
            text += "\n";
            text += &line;
        }
    }
    text
}
