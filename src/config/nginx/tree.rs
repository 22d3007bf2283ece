//! Directives as a tree with positions: what was written, before anyone asks what it means.

use crate::config::diagnostic::At;
use crate::config::diagnostic::Diagnostics;
use crate::config::nginx::lexer::{Ending, Lexer, Statement, Word};
use std::fmt::Write as _;
use std::sync::Arc;

/// Blocks that may stand within one another; nginx has no limit, its deepest real use is about six.
pub const DEEPEST: usize = 64;

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where its name stands.
    pub at: At,
    /// Where its `;` or `{` stands.
    pub end: At,
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: Vec<Word>,
    /// What follows them.
    pub body: Body,
}

/// What follows a directive's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `;`
    None,
    /// `{ … }` with directives.
    Block(Vec<Node>),
    /// `{ … }` with Lua, exactly as written; its first line is the rest of the `{` line.
    Lua(String),
}

impl Node {
    /// The argument number `index`, from 0; empty when there is none.
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", |it| it.text.as_str())
    }

    /// All arguments as texts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(|it| it.text.as_str())
    }

    /// The directives inside; empty when there is no block.
    pub fn children(&self) -> &[Node] {
        match &self.body {
            Body::Block(nodes) => nodes,
            _ => &[],
        }
    }
}

/// Reads `lexer` to its end. Faults go to `diagnostics`; what could be read is returned.
/// The second value is false when the text is broken, so that things may be missing.
pub fn parse(
    file: &Arc<str>,
    mut lexer: Lexer<'_>,
    diagnostics: &mut Diagnostics,
) -> (Vec<Node>, bool) {
    let mut open: Vec<(Option<Node>, Vec<Node>)> = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    loop {
        let statement = lexer.statement();
        let line = statement.line;
        match statement.ending {
            Ending::Semicolon => nodes.extend(node(file, statement, Body::None)),
            Ending::Open if is_lua_block(&statement) => {
                let Some(code) = lexer.lua() else { break };
                nodes.extend(node(file, statement, Body::Lua(code)));
            }
            Ending::Open if open.len() >= DEEPEST => {
                lexer.fault(line, format!("blocks stand more than {DEEPEST} deep"));
                lexer.broken = true;
                break;
            }
            Ending::Open => {
                let head = node(file, statement, Body::None);
                open.push((head, std::mem::take(&mut nodes)));
            }
            Ending::Close => match open.pop() {
                Some((head, outer)) => {
                    let inside = std::mem::replace(&mut nodes, outer);
                    nodes.extend(head.map(|it| Node { body: Body::Block(inside), ..it }));
                }
                None => lexer.fault(line, "unexpected \"}\"".to_owned()),
            },
            Ending::End => break,
        }
    }
    if let (Some((head, _)), false) = (open.last(), lexer.broken) {
        let mut message = "unexpected end of file, expecting \"}\"".to_owned();
        if let Some(head) = head {
            let _ = write!(message, " to close \"{}\" of line {}", head.name, head.at.line);
        }
        lexer.fault(lexer.line(), message);
        lexer.broken = true;
    }
    while let Some((head, outer)) = open.pop() {
        let inside = std::mem::replace(&mut nodes, outer);
        nodes.extend(head.map(|it| Node { body: Body::Block(inside), ..it }));
    }
    for fault in &lexer.faults {
        diagnostics.fault(&At::new(Arc::clone(file), fault.line), fault.message.clone());
    }
    (nodes, !lexer.broken)
}

fn is_lua_block(statement: &Statement) -> bool {
    statement.words.first().is_some_and(|it| it.text.ends_with("_by_lua_block"))
}

fn node(file: &Arc<str>, statement: Statement, body: Body) -> Option<Node> {
    let end = At::new(Arc::clone(file), statement.line);
    let mut words = statement.words.into_iter();
    let name = words.next()?;
    let at = At::new(Arc::clone(file), name.line);
    Some(Node { at, end, name: name.text, args: words.collect(), body })
}

/// The tree as text again, one directive a line: what `parse` reads back as the same tree, lines
/// apart.
pub fn print(nodes: &[Node]) -> String {
    let mut text = String::new();
    print_into(nodes, 0, &mut text);
    text
}

fn print_into(nodes: &[Node], depth: usize, text: &mut String) {
    for node in nodes {
        text.extend(std::iter::repeat_n("    ", depth));
        text.push_str(&quoted(&node.name));
        for arg in &node.args {
            text.push(' ');
            text.push_str(&quoted(&arg.text));
        }
        match &node.body {
            Body::None => text.push_str(";\n"),
            Body::Lua(code) => {
                let _ = writeln!(text, " {{{code}}}");
            }
            Body::Block(inside) => {
                text.push_str(" {\n");
                print_into(inside, depth + 1, text);
                text.extend(std::iter::repeat_n("    ", depth));
                text.push_str("}\n");
            }
        }
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:$=@~^|,+*%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Vec<Node>, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let (nodes, _) = parse(&"t".into(), Lexer::new(text), &mut diagnostics);
        (nodes, diagnostics.0.iter().map(ToString::to_string).collect())
    }

    fn without_lines(nodes: Vec<Node>) -> Vec<Node> {
        let strip = |node: Node| Node {
            at: At::default(),
            end: At::default(),
            args: node.args.into_iter().map(|it| Word { line: 0, ..it }).collect(),
            body: match node.body {
                Body::Block(inside) => Body::Block(without_lines(inside)),
                other => other,
            },
            ..node
        };
        nodes.into_iter().map(strip).collect()
    }

    #[test]
    fn blocks_nest_and_lua_is_kept() {
        let (nodes, faults) = read("a {\n b c;\n content_by_lua_block { x = { \"}\" }\n }\n}\nd;");
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(nodes[0].children()[0].arg(0), "c");
        assert_eq!(nodes[0].children()[1].body, Body::Lua(" x = { \"}\" }\n ".into()));
        assert_eq!(nodes[1].at.line, 6);
    }

    #[test]
    fn missing_braces_are_placed() {
        assert_eq!(
            read("a {\n b {\n }\n").1,
            ["t:4: unexpected end of file, expecting \"}\" to close \"a\" of line 1"]
        );
        assert_eq!(read("a;\n}\nb;}").1, ["t:2: unexpected \"}\"", "t:3: unexpected \"}\""]);
    }

    #[test]
    fn depth_has_a_limit() {
        let (_, faults) = read(&"a {".repeat(100_000));
        assert_eq!(faults, ["t:1: blocks stand more than 64 deep"]);
    }

    proptest! {
        #[test]
        fn printed_trees_read_back(text in "([a-z]{1,3}( [a-z$\"'\\\\]{0,5}){0,2}[;{}]){0,20}") {
            let (nodes, _) = read(&text);
            let nodes = without_lines(nodes);
            let (again, faults) = read(&print(&nodes));
            prop_assert_eq!(faults, Vec::<String>::new());
            prop_assert_eq!(without_lines(again), nodes);
        }
    }
}
