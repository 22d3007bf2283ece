//! nginx's tokens: words, quotes, escapes, comments, `{ } ;`, exactly as `ngx_conf_read_token` cuts
//! them, and the raw text of a `*_by_lua_block`.

use crate::config::nginx::lua_block;

/// Bytes that one word may have: nginx's buffer for a configuration.
const LONGEST_WORD: usize = 4096;

/// One word and the line on which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text, quotes and escapes taken off.
    pub text: String,
    /// From 1.
    pub line: u32,
}

/// What ended a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `;`
    Semicolon,
    /// `{`
    Open,
    /// `}`, alone.
    Close,
    /// The end of the text, or a fault behind which nothing can be read.
    End,
}

/// The words up to `;`, `{` or `}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// A directive's name and its arguments; empty before `}` and at the end.
    pub words: Vec<Word>,
    /// What came behind them.
    pub ending: Ending,
    /// The line of that.
    pub line: u32,
}

/// A syntax fault: its line and nginx's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxFault {
    /// From 1.
    pub line: u32,
    /// nginx's words, then help.
    pub message: String,
}

/// Reads statements from a text; never panics, never reads twice.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    position: usize,
    line: u32,
    /// The text of `-g`, which nginx calls a parameter.
    parameter: bool,
    /// Faults so far; reading went on behind those that allow it.
    pub faults: Vec<SyntaxFault>,
    /// Nothing behind the last fault could be read.
    pub broken: bool,
}

impl<'a> Lexer<'a> {
    /// A lexer at the beginning of a file's text.
    pub fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { text, position: 0, line: 1, parameter: false, faults: Vec::new(), broken: false }
    }

    /// A lexer for the text of `-g`.
    pub fn parameter(text: &'a str) -> Self {
        Self { parameter: true, ..Self::new(text) }
    }

    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The line that will be read next.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The next statement.
    pub fn statement(&mut self) -> Statement {
        let mut words: Vec<Word> = Vec::new();
        loop {
            self.skip_blank();
            let line = self.line;
            let Some(byte) = self.peek() else {
                if !words.is_empty() {
                    self.unexpected_end();
                }
                return self.end();
            };
            match byte {
                b';' | b'{' => {
                    self.position += 1;
                    let ending = if byte == b';' { Ending::Semicolon } else { Ending::Open };
                    if !words.is_empty() {
                        return Statement { words, ending, line };
                    }
                    self.fault(line, format!("unexpected \"{}\"", byte as char));
                    if byte == b'{' {
                        return Statement { words, ending, line };
                    }
                }
                b'}' => {
                    if let Some(last) = words.last() {
                        let help = format!(
                            "unexpected \"}}\"; is a \";\" missing after \"{}\"?",
                            last.text
                        );
                        self.fault(line, help);
                        return Statement { words, ending: Ending::Semicolon, line };
                    }
                    self.position += 1;
                    return Statement { words, ending: Ending::Close, line };
                }
                _ => match self.word(byte) {
                    Some(word) => words.push(word),
                    None => return self.end(),
                },
            }
        }
    }

    /// The text of a Lua block whose `{` was read just now, without its `}`.
    pub fn lua(&mut self) -> Option<String> {
        let rest = &self.text[self.position..];
        match lua_block::length(rest) {
            Ok(length) => {
                let code = rest[..length].to_owned();
                self.advance(length + 1);
                Some(code)
            }
            Err(broken) => {
                let line = self.line + newlines(&rest[..broken.offset]);
                self.fault(line, broken.message);
                self.broken = true;
                None
            }
        }
    }

    /// Records a fault on `line`.
    pub fn fault(&mut self, line: u32, message: String) {
        self.faults.push(SyntaxFault { line, message });
    }

    fn end(&self) -> Statement {
        Statement { words: Vec::new(), ending: Ending::End, line: self.line }
    }

    fn unexpected_end(&mut self) {
        let message = if self.parameter {
            "unexpected end of parameter, expecting \";\""
        } else {
            "unexpected end of file, expecting \";\" or \"}\""
        };
        self.broken = true;
        self.fault(self.line, message.to_owned());
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn advance(&mut self, count: usize) {
        self.line += newlines(&self.text[self.position..self.position + count]);
        self.position += count;
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                b'#' => {
                    let rest = &self.text.as_bytes()[self.position..];
                    self.position += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                    continue;
                }
                _ => return,
            }
            self.position += 1;
        }
    }

    /// Reads the word that begins with `first`; `None` when the text is broken behind it.
    fn word(&mut self, first: u8) -> Option<Word> {
        let line = self.line;
        let quote = (first == b'"' || first == b'\'').then_some(first);
        let start = self.position + usize::from(quote.is_some());
        let Some(length) = raw_length(&self.text.as_bytes()[start..], quote) else {
            match quote {
                _ if self.text.len() - start >= LONGEST_WORD => self.too_long(line, start, quote),
                Some(quote) => {
                    self.unexpected_end();
                    let opened = format!(
                        "; the {} opened on line {line} is not closed",
                        if quote == b'"' { "\"" } else { "'" }
                    );
                    if let Some(fault) = self.faults.last_mut() {
                        fault.message.push_str(&opened);
                    }
                }
                None => self.unexpected_end(),
            }
            return None;
        };
        if length >= LONGEST_WORD {
            self.too_long(line, start, quote);
            return None;
        }
        let raw = &self.text[start..start + length];
        self.advance(length + 2 * usize::from(quote.is_some()));
        let behind = self.text[self.position..].chars().next();
        let parted = |c| matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{' | ')');
        if let Some(next) = behind.filter(|c| quote.is_some() && !parted(*c)) {
            self.fault(
                self.line,
                format!("unexpected \"{next}\"; a space is missing behind the closing quote"),
            );
        }
        Some(Word { text: unescape(raw), line })
    }

    fn too_long(&mut self, line: u32, start: usize, quote: Option<u8>) {
        self.broken = true;
        let message = match quote {
            Some(quote) => format!(
                "too long parameter, probably missing terminating \"{}\" character",
                quote as char
            ),
            None => {
                let head: String = self.text[start..].chars().take(10).collect();
                format!("too long parameter \"{head}...\" started")
            }
        };
        self.fault(line, message);
    }
}

/// How many bytes belong to a word, without its quotes; `None` when the text ends within.
fn raw_length(bytes: &[u8], quote: Option<u8>) -> Option<usize> {
    let mut at = 0;
    let mut variable = false;
    while at < bytes.len() {
        let byte = bytes[at];
        match (byte, quote) {
            (b'{', _) if variable => {}
            (b'\\', _) => {
                variable = false;
                at += 1;
            }
            (_, Some(quote)) if byte == quote => return Some(at),
            (b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{', None) => return Some(at),
            _ => variable = byte == b'$',
        }
        at += 1;
    }
    None
}

/// `\" \' \\` lose their backslash, `\t \r \n` become what they name, others stay as written.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        let replaced = match (c, chars.peek()) {
            ('\\', Some(next @ ('"' | '\'' | '\\'))) => Some(*next),
            ('\\', Some('t')) => Some('\t'),
            ('\\', Some('r')) => Some('\r'),
            ('\\', Some('n')) => Some('\n'),
            _ => None,
        };
        if replaced.is_some() {
            chars.next();
        }
        text.push(replaced.unwrap_or(c));
    }
    text
}

fn newlines(text: &str) -> u32 {
    let count = text.bytes().filter(|b| *b == b'\n').count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
