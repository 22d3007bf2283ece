//! nginx.conf as a language: text -> lexer -> tree with positions -> directive table -> model.

pub mod directive;
pub mod directives;
pub mod include;
pub mod lexer;
pub mod lower;
mod lua_block;
pub mod reference;
mod scope;
mod suggest;
pub mod tree;
