//! The directive reference: the table printed as Markdown for README.

use crate::config::nginx::directive::{Apply, context_names};
use crate::config::nginx::directives;
use std::fmt::Write as _;

/// A Markdown table of what Moongate acts upon (ours in bold), then the names that it accepts
/// without effect.
pub fn reference() -> String {
    let mut rows: Vec<_> = directives::all().filter(|it| !it.doc.is_empty()).collect();
    rows.sort_by_key(|it| (it.name, it.contexts));
    let mut text = String::from("| directive | where | arguments | |\n|---|---|---|---|\n");
    for row in rows {
        let name = format!("`{}`", row.name);
        let name = if row.ours { format!("**{name}**") } else { name };
        let block = if row.block { " `{…}`" } else { "" };
        let doc = row.doc.replace('|', "\\|");
        let contexts = context_names(row.contexts);
        let _ = writeln!(text, "| {name}{block} | {contexts} | {} | {doc} |", row.arity);
    }
    let mut list = |title: &str, chosen: fn(&Apply) -> bool| {
        let mut names: Vec<_> =
            directives::all().filter(|it| chosen(&it.apply)).map(|it| it.name).collect();
        names.sort_unstable();
        let _ = writeln!(text, "\n{title}: `{}`.", names.join("`, `"));
    };
    list("Accepted, and without effect", |it| matches!(it, Apply::Accepted(_)));
    list("Accepted when `off`, else refused", |it| matches!(it, Apply::OffOnly(_)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_marked_and_bars_escaped() {
        let text = reference();
        assert!(text.contains("| **`health_check`** | location, upstream | 0 or more |"));
        assert!(text.contains("| `location` `{…}` | server, location | 1 or 2 |"));
        assert!(
            text.lines()
                .filter(|it| it.starts_with("| "))
                .all(|line| { line.replace("\\|", "").matches('|').count() == 5 })
        );
    }
}
