//! headers-more's lines, compiled.

use crate::vars::Template;
use bytes::Bytes;

/// One `more_set_headers` (`more_clear_headers`, and those for requests).
#[derive(Debug)]
pub struct MoreHeaders {
    /// Only on these statuses; empty is any.
    pub statuses: Box<[u16]>,
    /// Only with these content types; empty is any.
    pub types: Box<[Bytes]>,
    /// Adds to the fields of the same name.
    pub append: bool,
    /// Only replaces what is there.
    pub replace: bool,
    /// The fields in order.
    pub headers: Box<[MoreHeader]>,
}

/// One field.
#[derive(Debug)]
pub struct MoreHeader {
    /// Its name, without the `*` of a family's.
    pub name: Bytes,
    /// All fields whose names begin with `name`.
    pub is_family: bool,
    /// Its value; an empty one removes.
    pub value: Template,
}

impl MoreHeader {
    /// Whether it speaks of the field `name`.
    pub fn is(&self, name: &[u8]) -> bool {
        if !self.is_family {
            return self.name.eq_ignore_ascii_case(name);
        }
        let begin = name.get(..self.name.len());
        begin.is_some_and(|it| it.eq_ignore_ascii_case(&self.name))
    }
}
