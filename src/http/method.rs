//! Request methods: nginx's table and the numbers of `ngx.HTTP_GET` and its kind.

/// A method that nginx has a number for. Any other token of capital letters, `_` and `-` is
/// accepted too and has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Method {
    /// `ngx.HTTP_GET`.
    Get = 0x2,
    /// `ngx.HTTP_HEAD`.
    Head = 0x4,
    /// `ngx.HTTP_POST`.
    Post = 0x8,
    /// `ngx.HTTP_PUT`.
    Put = 0x10,
    /// `ngx.HTTP_DELETE`.
    Delete = 0x20,
    /// `ngx.HTTP_MKCOL`.
    Mkcol = 0x40,
    /// `ngx.HTTP_COPY`.
    Copy = 0x80,
    /// `ngx.HTTP_MOVE`.
    Move = 0x100,
    /// `ngx.HTTP_OPTIONS`.
    Options = 0x200,
    /// `ngx.HTTP_PROPFIND`.
    Propfind = 0x400,
    /// `ngx.HTTP_PROPPATCH`.
    Proppatch = 0x800,
    /// `ngx.HTTP_LOCK`.
    Lock = 0x1000,
    /// `ngx.HTTP_UNLOCK`.
    Unlock = 0x2000,
    /// `ngx.HTTP_PATCH`.
    Patch = 0x4000,
    /// `ngx.HTTP_TRACE`; nginx answers 405.
    Trace = 0x8000,
    /// `CONNECT`; nginx 1.22 answers 405 and Lua has no constant for it.
    Connect = 0x1_0000,
}

/// All methods with a number, in the order of their numbers.
pub const ALL: [Method; 16] = [
    Method::Get,
    Method::Head,
    Method::Post,
    Method::Put,
    Method::Delete,
    Method::Mkcol,
    Method::Copy,
    Method::Move,
    Method::Options,
    Method::Propfind,
    Method::Proppatch,
    Method::Lock,
    Method::Unlock,
    Method::Patch,
    Method::Trace,
    Method::Connect,
];

impl Method {
    /// The method as it stands in a request line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Mkcol => "MKCOL",
            Self::Copy => "COPY",
            Self::Move => "MOVE",
            Self::Options => "OPTIONS",
            Self::Propfind => "PROPFIND",
            Self::Proppatch => "PROPPATCH",
            Self::Lock => "LOCK",
            Self::Unlock => "UNLOCK",
            Self::Patch => "PATCH",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
        }
    }

    /// nginx's bit for the method, the value of `ngx.HTTP_…`.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The method with this name; names are case-sensitive (RFC 9110, 9.1).
    pub fn from_name(name: &[u8]) -> Option<Self> {
        ALL.into_iter().find(|it| it.name().as_bytes() == name)
    }

    /// The method with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        ALL.into_iter().find(|it| it.number() == number)
    }
}

/// Whether nginx's request line parser accepts `name` as a method.
pub fn is_valid(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|it| matches!(it, b'A'..=b'Z' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree_both_ways() {
        for (index, method) in ALL.into_iter().enumerate() {
            assert_eq!(method.number(), 2 << index);
            assert_eq!(Method::from_number(method.number()), Some(method));
            assert_eq!(Method::from_name(method.name().as_bytes()), Some(method));
        }
        assert_eq!(Method::Trace.number(), 32768);
        assert_eq!((Method::from_name(b"get"), Method::from_number(3)), (None, None));
    }

    #[test]
    fn tokens_are_capitals() {
        assert!(is_valid(b"PURGE") && is_valid(b"M-SEARCH") && is_valid(b"_X"));
        assert!(!is_valid(b"get") && !is_valid(b"G3T") && !is_valid(b""));
    }
}
