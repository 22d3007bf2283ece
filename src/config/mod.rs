//! The configuration: nginx.conf as text, its directive table, and the typed model both of its
//! languages (nginx.conf for people, JSON for machines) mean.

pub mod diagnostic;
pub mod model;
