//! A row of the directive table: name, where it may stand, how many arguments, what it does.

use crate::config::model::{Chunk, PlacedText};
use crate::config::nginx::lower::Lower;
pub use crate::config::nginx::scope::Scope;
use crate::config::nginx::tree::Node;
use std::fmt;
use std::path::PathBuf;

/// A set of blocks in which a directive may stand.
pub type Contexts = u16;
/// The main level.
pub const MAIN: Contexts = 1;
/// `events`
pub const EVENTS: Contexts = 1 << 1;
/// `http`
pub const HTTP: Contexts = 1 << 2;
/// `server`
pub const SERVER: Contexts = 1 << 3;
/// `location`
pub const LOCATION: Contexts = 1 << 4;
/// `if` in a server.
pub const SERVER_IF: Contexts = 1 << 5;
/// `if` in a location.
pub const LOCATION_IF: Contexts = 1 << 6;
/// `upstream`
pub const UPSTREAM: Contexts = 1 << 7;
/// `match`
pub const MATCH: Contexts = 1 << 8;
/// `rollout`
pub const ROLLOUT: Contexts = 1 << 9;
/// The three levels that nearly every setting of HTTP may stand on.
pub const HSL: Contexts = HTTP | SERVER | LOCATION;
/// These and `if` in a location.
pub const HSLI: Contexts = HSL | LOCATION_IF;
/// Where the rewrite module's directives stand.
pub const REWRITE: Contexts = SERVER | SERVER_IF | LOCATION | LOCATION_IF;
/// Everywhere: for directives that are refused or replaced wherever they stand.
pub const ANYWHERE: Contexts = Contexts::MAX;

const CONTEXT_NAMES: [(Contexts, &str); 10] = [
    (MAIN, "main"),
    (EVENTS, "events"),
    (HTTP, "http"),
    (SERVER, "server"),
    (LOCATION, "location"),
    (SERVER_IF, "if in server"),
    (LOCATION_IF, "if in location"),
    (UPSTREAM, "upstream"),
    (MATCH, "match"),
    (ROLLOUT, "rollout"),
];

/// The names of a set of contexts: `http, server, location`.
pub fn context_names(contexts: Contexts) -> String {
    if contexts == ANYWHERE {
        return "any".to_owned();
    }
    let names = CONTEXT_NAMES.iter().filter(|(bit, _)| contexts & bit != 0);
    names.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

/// How many arguments a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// This many.
    Exactly(usize),
    /// From the first to the second.
    Between(usize, usize),
    /// This many or more.
    AtLeast(usize),
}

impl Arity {
    /// Whether `count` arguments are right.
    pub fn takes(self, count: usize) -> bool {
        match self {
            Self::Exactly(wanted) => count == wanted,
            Self::Between(least, most) => (least..=most).contains(&count),
            Self::AtLeast(least) => count >= least,
        }
    }
}

impl fmt::Display for Arity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(0) => write!(f, "none"),
            Self::Exactly(count) => write!(f, "{count}"),
            Self::Between(least, most) if least + 1 == *most => write!(f, "{least} or {most}"),
            Self::Between(least, most) => write!(f, "{least} to {most}"),
            Self::AtLeast(least) => write!(f, "{least} or more"),
        }
    }
}

/// The field of the block around a directive that it sets, once.
pub type Slot<T> = for<'s, 'a> fn(&'s mut Scope<'a>) -> Option<&'s mut Option<T>>;

/// What a directive does.
#[derive(Clone, Copy)]
pub enum Apply {
    /// Sets a switch.
    Flag(Slot<bool>),
    /// Sets a time in milliseconds.
    Millis(Slot<u64>),
    /// Sets a size in bytes.
    Size(Slot<u64>),
    /// Sets a size in bytes that memory must hold.
    Memory(Slot<usize>),
    /// Sets a number.
    Number(Slot<u64>),
    /// Sets a number of 32 bits.
    Number32(Slot<u32>),
    /// Sets a count.
    Count(Slot<usize>),
    /// Sets a word.
    Word(Slot<String>),
    /// Sets a text whose variables must be well formed.
    Text(Slot<String>),
    /// Sets a path.
    Path(Slot<PathBuf>),
    /// Sets a word whose place is kept.
    Placed(Slot<PlacedText>),
    /// Sets a Lua handler.
    Lua(Slot<Chunk>),
    /// Does what no other row does.
    Custom(fn(&mut Lower<'_>, &mut Scope<'_>, &Node)),
    /// Is accepted and has no effect; why nothing is needed.
    Accepted(&'static str),
    /// Is accepted when `off`, which is how Moongate behaves, else refused with this hint.
    OffOnly(&'static str),
    /// Is known and refused; what to do instead, or empty.
    Unsupported(&'static str),
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Directive {
    /// As it is written.
    pub name: &'static str,
    /// Where it may stand.
    pub contexts: Contexts,
    /// How many arguments it takes.
    pub arity: Arity,
    /// One line for the reference.
    pub doc: &'static str,
    /// What it does.
    pub apply: Apply,
    /// It takes a block instead of a `;`.
    pub block: bool,
    /// Moongate's own, unknown to nginx and OpenResty.
    pub ours: bool,
}

impl Directive {
    /// A directive that ends with `;`.
    pub const fn new(
        name: &'static str,
        contexts: Contexts,
        arity: Arity,
        apply: Apply,
        doc: &'static str,
    ) -> Self {
        Self { name, contexts, arity, doc, apply, block: false, ours: false }
    }

    /// The same with a block.
    #[must_use]
    pub const fn block(self) -> Self {
        Self { block: true, ..self }
    }

    /// The same as one of ours.
    #[must_use]
    pub const fn ours(self) -> Self {
        Self { ours: true, ..self }
    }

    /// Whether it is known but refused.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.apply, Apply::Unsupported(_))
    }
}

impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directive").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One argument.
pub const ONE: Arity = Arity::Exactly(1);

/// A row that sets a switch.
pub const fn flag(
    name: &'static str,
    contexts: Contexts,
    slot: Slot<bool>,
    doc: &'static str,
) -> Directive {
    Directive::new(name, contexts, ONE, Apply::Flag(slot), doc)
}

/// A row that sets a time.
pub const fn millis(
    name: &'static str,
    contexts: Contexts,
    slot: Slot<u64>,
    doc: &'static str,
) -> Directive {
    Directive::new(name, contexts, ONE, Apply::Millis(slot), doc)
}

/// A row that does something of its own.
pub const fn custom(
    name: &'static str,
    contexts: Contexts,
    arity: Arity,
    apply: fn(&mut Lower<'_>, &mut Scope<'_>, &Node),
    doc: &'static str,
) -> Directive {
    Directive::new(name, contexts, arity, Apply::Custom(apply), doc)
}

/// A row for a directive that has no effect, and why.
pub const fn accepted(name: &'static str, why: &'static str) -> Directive {
    Directive::new(name, ANYWHERE, Arity::AtLeast(1), Apply::Accepted(why), "")
}

/// A row for a directive that may be off.
pub const fn off_only(name: &'static str, hint: &'static str) -> Directive {
    Directive::new(name, ANYWHERE, Arity::AtLeast(1), Apply::OffOnly(hint), "")
}

/// A row for a directive that is refused, with what to do instead.
pub const fn unsupported(name: &'static str, hint: &'static str) -> Directive {
    Directive::new(name, ANYWHERE, Arity::AtLeast(0), Apply::Unsupported(hint), "")
}

/// The slot of a field of `Settings`.
macro_rules! setting {
    ($field:ident) => {
        |scope| scope.settings().map(|it| &mut it.$field)
    };
}
pub(crate) use setting;
