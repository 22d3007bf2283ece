//! From the tree to the model: each directive is looked up in the table, its place and its number
//! of arguments are checked, its row is applied; every fault is collected.

use crate::config::diagnostic::Diagnostic;
use crate::config::diagnostic::Diagnostics;
use crate::config::model::{Chunk, ChunkSource, HealthCheck, HealthMatch, Model, PlacedText};
use crate::config::nginx::directive::{ANYWHERE, Apply, Contexts, Directive, Scope, context_names};
use crate::config::nginx::directives;
use crate::config::nginx::suggest::nearest;
use crate::config::nginx::tree::{Body, Node};
use crate::config::units;

/// What lowering carries from directive to directive.
#[derive(Debug)]
pub struct Lower<'a> {
    /// Where faults go.
    pub diagnostics: &'a mut Diagnostics,
    /// False where braces are missing: then a directive may seem to stand in a wrong place.
    whole: bool,
    /// The `match` blocks of `http`, read before everything else there.
    pub matches: Vec<(String, HealthMatch)>,
    /// `health_check` lines of locations with the upstream that each probes.
    pub location_checks: Vec<(String, HealthCheck)>,
}

/// The model that `nodes`, the main level, mean; `whole` is false where text is missing.
pub fn lower(nodes: &[Node], whole: bool, diagnostics: &mut Diagnostics) -> Model {
    let mut model = Model::default();
    let mut lower = Lower { diagnostics, whole, matches: Vec::new(), location_checks: Vec::new() };
    lower.block(nodes, &mut Scope::Main(&mut model));
    model
}

impl Lower<'_> {
    /// Applies the directives of a block in their order.
    pub fn block(&mut self, nodes: &[Node], scope: &mut Scope<'_>) {
        for node in nodes {
            self.directive(node, scope);
        }
    }

    fn directive(&mut self, node: &Node, scope: &mut Scope<'_>) {
        let context = scope.context();
        let rows = || directives::all().filter(|it| it.name == node.name);
        if let Some(row) = rows().find(|it| it.contexts & context != 0) {
            if self.shape(row, node) {
                self.apply(row, node, scope);
            }
            return;
        }
        let Some(row) = rows().next() else { return self.unknown(node, context) };
        if row.is_unsupported() {
            return self.apply(row, node, scope);
        }
        if !self.whole {
            return;
        }
        let allowed = context_names(rows().fold(0, |all, it| all | it.contexts));
        self.fault(
            node,
            format!(
                "\"{}\" directive is not allowed here; it belongs in {allowed}, not in {}",
                node.name,
                context_names(context)
            ),
        );
    }

    fn unknown(&mut self, node: &Node, context: Contexts) {
        if let Some(hint) = directives::unsupported_family(&node.name) {
            return self.unsupported(node, hint);
        }
        let here = directives::all().filter(|it| it.contexts & context != 0);
        let found = nearest(&node.name, here.map(|it| it.name))
            .or_else(|| nearest(&node.name, directives::all().map(|it| it.name)));
        let help = found.map_or_else(String::new, |it| format!("; did you mean \"{it}\"?"));
        self.fault(node, format!("unknown directive \"{}\"{help}", node.name));
    }

    /// Whether `node` has the block or the `;`, and the arguments, that its row wants.
    fn shape(&mut self, row: &Directive, node: &Node) -> bool {
        if row.is_unsupported() {
            return true;
        }
        let name = &node.name;
        let has_block = node.body != Body::None;
        if row.block && !has_block {
            self.fault(node, format!("directive \"{name}\" has no opening \"{{\""));
        } else if !row.block && has_block {
            let help = "an argument with \"{\" must be quoted";
            let message = format!("directive \"{name}\" is not terminated by \";\"; {help}");
            self.fault(node, message);
        } else if !row.arity.takes(node.args.len()) {
            let mut message = format!(
                "invalid number of arguments in \"{name}\" directive; it takes {}, not {}",
                row.arity,
                node.args.len()
            );
            if let Some(line) = missing_semicolon(node) {
                message.push_str(&format!("; is a \";\" missing at the end of line {line}?"));
            }
            self.fault(node, message);
        } else {
            return true;
        }
        false
    }

    fn apply(&mut self, row: &Directive, node: &Node, scope: &mut Scope<'_>) {
        let invalid = "directive invalid value";
        match row.apply {
            Apply::Flag(slot) => {
                let value = self.switch(node, node.arg(0));
                self.once(node, slot(scope), value);
            }
            Apply::Millis(slot) => {
                let value = self.parse(node, units::millis, invalid, A_TIME);
                self.once(node, slot(scope), value);
            }
            Apply::Size(slot) => {
                let value = self.parse(node, units::bytes, invalid, A_SIZE);
                self.once(node, slot(scope), value);
            }
            Apply::Memory(slot) => {
                let read = |text: &str| units::bytes(text).and_then(|it| usize::try_from(it).ok());
                let value = self.parse(node, read, invalid, A_SIZE);
                self.once(node, slot(scope), value);
            }
            Apply::Number(slot) => {
                let value = self.number(node, units::number);
                self.once(node, slot(scope), value);
            }
            Apply::Number32(slot) => {
                let read = |text: &str| units::number(text).and_then(|it| u32::try_from(it).ok());
                let value = self.number(node, read);
                self.once(node, slot(scope), value);
            }
            Apply::Count(slot) => {
                let read = |text: &str| units::number(text).and_then(|it| usize::try_from(it).ok());
                let value = self.number(node, read);
                self.once(node, slot(scope), value);
            }
            Apply::Word(slot) => self.once(node, slot(scope), Some(node.arg(0).to_owned())),
            Apply::Text(slot) => {
                let value = self.text(node, node.arg(0));
                self.once(node, slot(scope), Some(value));
            }
            Apply::Path(slot) => self.once(node, slot(scope), Some(node.arg(0).into())),
            Apply::Placed(slot) => {
                let value = PlacedText { at: node.at.clone(), text: node.arg(0).to_owned() };
                self.once(node, slot(scope), Some(value));
            }
            Apply::Lua(slot) => {
                let value = self.chunk(node, 0);
                self.once(node, slot(scope), value);
            }
            Apply::Custom(apply) => apply(self, scope, node),
            Apply::Accepted(why) => {
                self.notice(node, format!("\"{}\" has no effect: {why}", node.name));
            }
            Apply::OffOnly(hint) => {
                if !node.arg(0).eq_ignore_ascii_case("off") {
                    self.unsupported(node, hint);
                }
            }
            Apply::Unsupported(hint) => self.unsupported(node, hint),
        }
    }

    /// Records a fault where `node` stands.
    pub fn fault(&mut self, node: &Node, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::fault(&node.at, message));
    }

    /// Records a warning where `node` stands.
    pub fn warning(&mut self, node: &Node, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(&node.at, message));
    }

    /// Records a notice where `node` stands.
    pub fn notice(&mut self, node: &Node, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::notice(&node.at, message));
    }

    /// Refuses what nginx has and Moongate has not.
    pub fn unsupported(&mut self, node: &Node, hint: &str) {
        let dash = if hint.is_empty() { "" } else { "; " };
        let name = &node.name;
        self.fault(
            node,
            format!("\"{name}\" is not supported by this version of Moongate{dash}{hint}"),
        );
    }

    /// Records nginx's `is duplicate` for `node`.
    pub fn duplicate(&mut self, node: &Node) {
        self.fault(node, format!("\"{}\" directive is duplicate", node.name));
    }

    /// Sets what may be set once in a block.
    pub fn once<T>(&mut self, node: &Node, slot: Option<&mut Option<T>>, value: Option<T>) {
        match slot {
            Some(slot) if slot.is_some() => self.duplicate(node),
            Some(slot) => *slot = value,
            None => {}
        }
    }

    fn parse<T>(
        &mut self,
        node: &Node,
        read: impl Fn(&str) -> Option<T>,
        what: &str,
        help: &str,
    ) -> Option<T> {
        let value = read(node.arg(0));
        if value.is_none() {
            let (name, text) = (&node.name, node.arg(0));
            self.fault(node, format!("\"{name}\" {what}; \"{text}\" is not {help}"));
        }
        value
    }

    fn number<T>(&mut self, node: &Node, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.parse(node, read, "directive invalid number", "a whole number from 0")
    }

    /// `on` or `off`, else nginx's fault.
    pub fn switch(&mut self, node: &Node, text: &str) -> Option<bool> {
        let value = units::switch(text);
        if value.is_none() {
            let name = &node.name;
            self.fault(
                node,
                format!(
                    "invalid value \"{text}\" in \"{name}\" directive, it must be \"on\" or \"off\""
                ),
            );
        }
        value
    }

    /// `text`, whose variables must be well formed.
    pub fn text(&mut self, node: &Node, text: &str) -> String {
        if let Err(message) = units::check_variables(text) {
            self.fault(node, format!("{message} in \"{text}\""));
        }
        text.to_owned()
    }

    /// The name behind `$` in `text`, else nginx's fault.
    pub fn variable(&mut self, node: &Node, text: &str) -> String {
        match text.strip_prefix('$') {
            Some(name) if !name.is_empty() => {
                if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    let help = "no \"$name\" can refer to it";
                    self.warning(node, format!("suspicious variable name \"{text}\"; {help}"));
                }
                name.to_owned()
            }
            _ => {
                let help = "a variable begins with \"$\"";
                self.fault(node, format!("invalid variable name \"{text}\"; {help}"));
                text.to_owned()
            }
        }
    }

    /// The chunk of a `*_by_lua*` directive; for the quoted and the file form it is the argument
    /// number `index`.
    pub fn chunk(&mut self, node: &Node, index: usize) -> Option<Chunk> {
        let directive = lua_directive(&node.name).to_owned();
        let (at, source) = match &node.body {
            Body::Lua(code) => (&node.at, ChunkSource::Inline(code.clone())),
            _ if node.name.ends_with("_file") => {
                let path = self.text(node, node.arg(index));
                (&node.at, ChunkSource::File(path))
            }
            _ => (&node.end, ChunkSource::Inline(node.arg(index).to_owned())),
        };
        let (ChunkSource::Inline(text) | ChunkSource::File(text)) = &source;
        if text.is_empty() {
            self.fault(node, "invalid location config: no runnable Lua code");
            return None;
        }
        Some(Chunk { at: at.clone(), directive, source })
    }
}

const A_TIME: &str = "a time such as 500ms, 30s or 1h30m";
const A_SIZE: &str = "a size such as 512, 8k, 1m or 1g";

/// A `*_by_lua*` directive without its ending.
pub fn lua_directive(name: &str) -> &str {
    name.strip_suffix("_block").or_else(|| name.strip_suffix("_file")).unwrap_or(name)
}

/// The line at whose end a `;` seems to be missing: a later line begins with a directive's name.
fn missing_semicolon(node: &Node) -> Option<u32> {
    let mut line = node.at.line;
    for word in &node.args {
        let known = || directives::all().any(|it| it.name == word.text && it.contexts != ANYWHERE);
        if word.line > line && known() {
            return Some(line);
        }
        line = word.line;
    }
    None
}
