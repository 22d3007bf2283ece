//! One line of an error log while it is written: bounded, and whole.

use std::fmt;

/// Bytes a line may have with its line feed (`NGX_MAX_ERROR_STR`); the rest is cut, the context
/// first, as it stands last.
pub const MAX_LINE: usize = 2048;

/// A line that takes what fits.
#[derive(Clone, Debug, Default)]
pub struct Line {
    bytes: Vec<u8>,
}

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(256) }
    }

    /// Adds bytes as they are: the server's own words, or a script's, whose tracebacks have
    /// several lines.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        let room = (MAX_LINE - 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self
    }

    /// Adds bytes that somebody sent: control characters become `\x0A`, so that nobody outside
    /// begins a line of our log.
    pub fn escaped(&mut self, bytes: &[u8]) -> &mut Self {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(u8::is_ascii_control) {
            self.raw(&rest[..at]);
            let escape = format!("\\x{:02X}", rest[at]);
            self.raw(escape.as_bytes());
            rest = &rest[at + 1..];
        }
        self.raw(rest)
    }

    /// Adds `, client: 127.0.0.1` to the context.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.raw(b", ").raw(name.as_bytes()).raw(b": ").escaped(value.as_ref())
    }

    /// Adds `, request: "GET / HTTP/1.1"` to the context.
    pub fn quoted(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.raw(b", ").raw(name.as_bytes()).raw(b": \"").escaped(value.as_ref()).raw(b"\"")
    }

    /// What was written, without a line feed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole line with its line feed.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'\n');
        self.bytes
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.raw(text.as_bytes());
        Ok(())
    }
}

/// Shows bytes that somebody sent inside a message; control characters become `\x0A`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line::new();
        line.escaped(self.0);
        f.write_str(&String::from_utf8_lossy(line.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_never_breaks_the_line() {
        let mut line = Line::new();
        line.field("client", "127.0.0.1").quoted("host", b"a\r\nb\0\x7f\"\xff");
        let expected: &[u8] = b", client: 127.0.0.1, host: \"a\\x0D\\x0Ab\\x00\\x7F\"\xff\"";
        assert_eq!(line.as_bytes(), expected);
        assert_eq!(Escaped(b"GET\n").to_string(), "GET\\x0A");
    }

    #[test]
    fn a_line_ends_at_nginx_s_limit() {
        let mut line = Line::new();
        line.raw(&[b'x'; 3000]).field("client", "127.0.0.1");
        let whole = line.finish();
        assert_eq!((whole.len(), whole[MAX_LINE - 1]), (MAX_LINE, b'\n'));
    }
}
