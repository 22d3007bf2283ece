//! JSON text as Lua values, with lua-cjson's leniency and its words for faults.

use crate::lua::cjson::settings::Settings;
use crate::lua::ffi::stack::Anchor;
use crate::lua::ffi::stack::Stack;
use crate::lua::ffi::value;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Owned;

/// A document on its way to Lua; `mark` is the metatable of its arrays.
pub(super) struct Decoded<'a> {
    pub value: &'a Owned,
    pub mark: Option<&'a Anchor>,
}

impl value::Push for Decoded<'_> {
    fn push(self, stack: &Stack<'_>) -> usize {
        let inner = |value| Decoded { value, mark: self.mark };
        match self.value {
            Owned::Array(items) => {
                let table = stack.new_table(items.len(), 0);
                for (at, item) in items.iter().enumerate() {
                    table.set_index(at + 1, inner(item));
                }
                if let Some(mark) = self.mark {
                    stack.push_anchored(mark);
                    debug_assert_eq!(stack.kind(-1), Kind::Table);
                    table.take_metatable();
                }
            }
            Owned::Map(entries) => {
                let table = stack.new_table(0, entries.len());
                for (key, value) in entries {
                    table.set(key, inner(value));
                }
            }
            other => return stack.push(other),
        }
        1
    }
}

/// The value that `text` spells.
///
/// # Errors
/// `Expected … but found … at character N`.
pub(super) fn decode(settings: &Settings, text: &[u8]) -> Result<Owned, String> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err("JSON parser does not support UTF-16 or UTF-32".to_owned());
    }
    let mut parser = Parser { settings, text, at: 0, depth: 0 };
    let token = parser.token();
    let value = parser.value(token)?;
    match parser.token() {
        (_, Token::End) => Ok(value),
        other => Err(unexpected("the end", &other)),
    }
}

#[derive(Debug)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

/// A token and where it begins.
type Placed = (usize, Token);

fn unexpected(expected: &str, (at, token): &Placed) -> String {
    let found = match token {
        Token::ObjectBegin => "T_OBJ_BEGIN",
        Token::ObjectEnd => "T_OBJ_END",
        Token::ArrayBegin => "T_ARR_BEGIN",
        Token::ArrayEnd => "T_ARR_END",
        Token::String(_) => "T_STRING",
        Token::Number(_) => "T_NUMBER",
        Token::Boolean(_) => "T_BOOLEAN",
        Token::Null => "T_NULL",
        Token::Colon => "T_COLON",
        Token::Comma => "T_COMMA",
        Token::End => "T_END",
        Token::Error(text) => text,
    };
    format!("Expected {expected} but found {found} at character {}", at + 1)
}

struct Parser<'a> {
    settings: &'a Settings,
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn value(&mut self, token: Placed) -> Result<Owned, String> {
        Ok(match token.1 {
            Token::String(text) => Owned::Bytes(text),
            Token::Number(number) => Owned::Number(number),
            Token::Boolean(value) => Owned::Boolean(value),
            Token::Null => Owned::Null,
            Token::ObjectBegin => self.nested(Self::object)?,
            Token::ArrayBegin => self.nested(Self::array)?,
            _ => return Err(unexpected("value", &token)),
        })
    }

    fn nested(&mut self, parse: fn(&mut Self) -> Result<Owned, String>) -> Result<Owned, String> {
        self.depth += 1;
        if self.depth > self.settings.decode_max_depth {
            let (depth, at) = (self.depth, self.at);
            return Err(format!(
                "Found too many nested data structures ({depth}) at character {at}"
            ));
        }
        let value = parse(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Owned, String> {
        let mut entries = Vec::new();
        let mut token = self.token();
        if matches!(token.1, Token::ObjectEnd) {
            return Ok(Owned::Map(entries));
        }
        loop {
            let Token::String(key) = token.1 else {
                return Err(unexpected("object key string", &token));
            };
            let colon = self.token();
            if !matches!(colon.1, Token::Colon) {
                return Err(unexpected("colon", &colon));
            }
            let first = self.token();
            entries.push((Owned::Bytes(key), self.value(first)?));
            match self.token() {
                (_, Token::ObjectEnd) => return Ok(Owned::Map(entries)),
                (_, Token::Comma) => token = self.token(),
                other => return Err(unexpected("comma or object end", &other)),
            }
        }
    }

    fn array(&mut self) -> Result<Owned, String> {
        let mut items = Vec::new();
        let mut token = self.token();
        if matches!(token.1, Token::ArrayEnd) {
            return Ok(Owned::Array(items));
        }
        loop {
            items.push(self.value(token)?);
            match self.token() {
                (_, Token::ArrayEnd) => return Ok(Owned::Array(items)),
                (_, Token::Comma) => token = self.token(),
                other => return Err(unexpected("comma or array end", &other)),
            }
        }
    }

    fn token(&mut self) -> Placed {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let start = self.at;
        let Some(&byte) = self.text.get(start) else { return (start, Token::End) };
        self.at += 1;
        let token = match byte {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => return self.string(start),
            b'0'..=b'9' | b'+' | b'-' => self.number(start),
            _ => self.word(start),
        };
        (start, token)
    }

    fn word(&mut self, start: usize) -> Token {
        let rest = &self.text[start..];
        for (word, token) in [
            ("true", Token::Boolean(true)),
            ("false", Token::Boolean(false)),
            ("null", Token::Null),
        ] {
            if rest.starts_with(word.as_bytes()) {
                self.at = start + word.len();
                return token;
            }
        }
        if self.settings.decode_invalid && is_invalid_number(rest) {
            return self.number(start);
        }
        Token::Error("invalid token")
    }

    fn number(&mut self, start: usize) -> Token {
        let rest = &self.text[start..];
        if !self.settings.decode_invalid && is_invalid_number(rest) {
            return Token::Error("invalid number");
        }
        match strtod(rest) {
            Some((number, length)) => {
                self.at = start + length;
                Token::Number(number)
            }
            None => Token::Error("invalid number"),
        }
    }

    fn string(&mut self, start: usize) -> Placed {
        let mut out = Vec::new();
        loop {
            match self.text.get(self.at) {
                None | Some(0) => return (self.at, Token::Error("unexpected end of string")),
                Some(b'"') => {
                    self.at += 1;
                    return (start, Token::String(out));
                }
                Some(b'\\') => {
                    if let Err(text) = self.escape(&mut out) {
                        return (self.at, Token::Error(text));
                    }
                }
                Some(&byte) => {
                    out.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// # Errors
    /// What is wrong with the escape, whose place is kept.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let byte = match self.text.get(self.at + 1) {
            Some(b'u') => return self.unicode(out),
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            _ => return Err("invalid escape code"),
        };
        out.push(byte);
        self.at += 2;
        Ok(())
    }

    /// # Errors
    /// Bad digits, or a lone half of a surrogate pair.
    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        const WRONG: &str = "invalid unicode escape code";
        let first = self.hex4(self.at + 2).ok_or(WRONG)?;
        let (mut code, mut length) = (first, 6);
        if first & 0xf800 == 0xd800 {
            let has_second = self.text.get(self.at + 6..self.at + 8) == Some(b"\\u".as_slice());
            let second = self.hex4(self.at + 8).filter(|_| has_second && first & 0x400 == 0);
            let second = second.filter(|it| it & 0xfc00 == 0xdc00).ok_or(WRONG)?;
            code = 0x10000 + ((first & 0x3ff) << 10 | second & 0x3ff);
            length = 12;
        }
        let character = char::from_u32(code).ok_or(WRONG)?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += length;
        Ok(())
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        digits.iter().try_fold(0, |code, &byte| Some(code << 4 | char::from(byte).to_digit(16)?))
    }
}

/// Hexadecimal, NaN, an infinity, or a needless leading zero.
fn is_invalid_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    match text {
        [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
        [b'0'..=b'9', ..] => false,
        [a, b, c, ..] => {
            let word = [a, b, c].map(|it| it.to_ascii_lowercase());
            word == *b"inf" || word == *b"nan"
        }
        _ => false,
    }
}

/// C's strtod on the beginning of `text`: the number and how many bytes it takes.
fn strtod(text: &[u8]) -> Option<(f64, usize)> {
    let signed = matches!(text.first(), Some(b'-' | b'+'));
    let sign = if text.first() == Some(&b'-') { -1.0 } else { 1.0 };
    let skip = usize::from(signed);
    let body = &text[skip..];
    let word =
        |word: &[u8]| body.len() >= word.len() && body[..word.len()].eq_ignore_ascii_case(word);
    if word(b"infinity") || word(b"inf") {
        let length = if word(b"infinity") { 8 } else { 3 };
        return Some((sign * f64::INFINITY, skip + length));
    }
    if word(b"nan") {
        return Some((f64::NAN, skip + 3));
    }
    if word(b"0x") && body.get(2).is_some_and(u8::is_ascii_hexdigit) {
        let digits = body[2..].iter().take_while(|it| it.is_ascii_hexdigit());
        let (mut value, mut length) = (0.0, skip + 2);
        for &digit in digits {
            value = value * 16.0 + f64::from(char::from(digit).to_digit(16).unwrap_or(0));
            length += 1;
        }
        return Some((sign * value, length));
    }
    decimal(body).map(|(value, length)| (sign * value, skip + length))
}

fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let digits = |from: usize| text[from..].iter().take_while(|it| it.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    if text.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if whole + fraction == 0 {
            return None;
        }
        end += 1 + fraction;
    } else if whole == 0 {
        return None;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let signed = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let from = (end + 1 + signed).min(text.len());
        let exponent = digits(from);
        if exponent > 0 {
            end = from + exponent;
        }
    }
    let spelled = std::str::from_utf8(&text[..end]).ok()?;
    Some((spelled.parse().ok()?, end))
}
