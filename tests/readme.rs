//! README.md's generated parts are what the tables in the sources say. `UPDATE_GOLDEN=1` rewrites
//! them.

#[path = "conformance/lists.rs"]
mod lists;

use moongate::config;
use moongate::metrics;
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// A generated part: the name in its markers, and what makes it.
type Part = (&'static str, fn() -> String);

const PARTS: [Part; 3] = [
    ("directives", config::reference),
    ("metrics", metrics::catalog::reference),
    ("conformance", conformance),
];

#[test]
fn generated_parts_are_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md is there");
    let mut fresh = readme.clone();
    for (name, text) in PARTS {
        let place = between_markers(&fresh, name);
        fresh.replace_range(place, &text());
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(&path, fresh).expect("README.md is writable");
    }
    let stale = readme.lines().zip(fresh.lines()).find(|(old, new)| old != new);
    assert!(
        readme == fresh,
        "README.md is not what the tables say (first: {stale:?}); to rewrite it:\n\
         UPDATE_GOLDEN=1 cargo test --test readme"
    );
}

/// What stands on the lines between `<!-- NAME -->` and `<!-- end of NAME -->`.
fn between_markers(text: &str, name: &str) -> Range<usize> {
    let place_of = |marker: &str| {
        let mut places = text.match_indices(marker);
        let (at, _) = places.next().unwrap_or_else(|| panic!("README.md has no {marker}"));
        assert!(places.next().is_none(), "README.md has {marker} twice");
        at
    };
    let begin = format!("<!-- {name} -->\n");
    let start = place_of(&begin) + begin.len();
    start..place_of(&format!("<!-- end of {name} -->"))
}

/// How much of OpenResty's suites passes, by the lists that `--test conformance` holds it to.
fn conformance() -> String {
    let failing: BTreeSet<lists::Block> =
        lists::expected().into_iter().flat_map(|it| it.blocks).collect();
    let mut text = String::from(
        "| Suite | Blocks | nginx passes | Moongate passes | |\n|---|---|---:|---:|---:|\n",
    );
    let kinds: [(&str, &str); 3] = [
        ("AB", "judged by the response"),
        ("C", "by the response and nginx's debug log"),
        ("DE", "by logs alone"),
    ];
    for (suite, name) in lists::SUITES {
        let reference = lists::reference(suite);
        for (tiers, kind) in kinds {
            let of_kind = || reference.iter().filter(|(_, tier)| tiers.contains(**tier));
            let all = of_kind().count();
            if all == 0 {
                continue;
            }
            let passed = of_kind().filter(|(block, _)| !failing.contains(block)).count();
            let share = 100.0 * passed as f64 / all as f64;
            text.push_str(&format!("| {name} | {kind} | {all} | {passed} | {share:.1} % |\n"));
        }
    }
    text
}
