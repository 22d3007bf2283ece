//! Variables: names resolved once to what they denote, texts with `$name` compiled to templates.

pub mod builtin;
pub mod geo;
pub mod names;
pub mod split_clients;
pub mod template;

pub use builtin::Builtin;
pub use names::{Names, Var};
pub use template::{Source, Template};
