//! Texts with variables, compiled once and evaluated per request.

use super::names::{Names, Var};
use bytes::Bytes;

/// What gives variables their values: a request.
pub trait Source {
    /// Appends the value of `var`; `false` (and nothing appended) where it is not set.
    fn append(&self, var: &Var, out: &mut Vec<u8>) -> bool;

    /// The value of `var`; `None` where it is not set. Cheaper than [`Source::append`] where the
    /// value is there already.
    fn value_of(&self, var: &Var) -> Option<Bytes> {
        let mut out = Vec::new();
        self.append(var, &mut out).then(|| out.into())
    }

    /// Called for a variable that a template needs and that is not set.
    fn warn_unset(&self, _name: &str) {}
}

#[derive(Clone, Debug)]
enum Part {
    Literal(Bytes),
    Var(Var, Box<str>),
}

/// A compiled text.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Box<[Part]>,
    text: Box<str>,
}

/// Why a text cannot be compiled; nginx's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `$` before something that is no name.
    #[error("invalid variable name")]
    BadName,
    /// `${` without `}`.
    #[error("the closing bracket in \"{0}\" variable is missing")]
    Unclosed(String),
    /// Nothing declares it.
    #[error("unknown \"{0}\" variable")]
    Unknown(String),
}

impl Template {
    /// Compiles `text` against the names of a configuration.
    ///
    /// # Errors
    /// A malformed or unknown variable.
    pub fn compile(text: &str, names: &Names) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            push_literal(&mut parts, &rest[..at]);
            let (name, after) = variable(&rest[at + 1..])?;
            let var = names.resolve(name.as_bytes()).ok_or_else(|| Error::Unknown(name.into()))?;
            parts.push(Part::Var(var, name.into()));
            rest = after;
        }
        push_literal(&mut parts, rest);
        Ok(Self { parts: parts.into(), text: text.into() })
    }

    /// A text without variables.
    pub fn literal(text: &str) -> Self {
        let mut parts = Vec::new();
        push_literal(&mut parts, text);
        Self { parts: parts.into(), text: text.into() }
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fixed value, when there is no variable in it.
    pub fn constant(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(b""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &Var> {
        self.parts.iter().filter_map(|it| match it {
            Part::Var(var, _) => Some(var),
            Part::Literal(_) => None,
        })
    }

    /// Its value for one request.
    pub fn value(&self, source: &dyn Source) -> Bytes {
        match &*self.parts {
            [] => Bytes::new(),
            [Part::Literal(text)] => text.clone(),
            [Part::Var(var, name)] => source.value_of(var).unwrap_or_else(|| {
                source.warn_unset(name);
                Bytes::new()
            }),
            _ => {
                let mut out = Vec::with_capacity(64);
                self.append(source, &mut out);
                out.into()
            }
        }
    }

    /// Appends its value for one request.
    pub fn append(&self, source: &dyn Source, out: &mut Vec<u8>) {
        for part in &*self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::Var(var, name) => {
                    if !source.append(var, out) {
                        source.warn_unset(name);
                    }
                }
            }
        }
    }

    /// Walks through literals and variables (a log format escapes the latter); the third argument
    /// of `variable` is its name.
    pub fn walk(&self, mut literal: impl FnMut(&[u8]), mut variable: impl FnMut(&Var, &str)) {
        for part in &*self.parts {
            match part {
                Part::Literal(text) => literal(text),
                Part::Var(var, name) => variable(var, name),
            }
        }
    }
}

/// Whether `text` holds a variable.
pub fn has_variables(text: &str) -> bool {
    text.contains('$')
}

fn push_literal(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Literal(Bytes::copy_from_slice(text.as_bytes())));
    }
}

/// The name behind a `$`, and what follows it.
fn variable(text: &str) -> Result<(&str, &str), Error> {
    if let Some(inner) = text.strip_prefix('{') {
        let end = inner.find('}').ok_or_else(|| Error::Unclosed(inner.into()))?;
        return if end == 0 { Err(Error::BadName) } else { Ok((&inner[..end], &inner[end + 1..])) };
    }
    let bytes = text.as_bytes();
    if bytes.first().is_some_and(u8::is_ascii_digit) {
        return Ok(text.split_at(1));
    }
    let end = bytes.iter().position(|it| !it.is_ascii_alphanumeric() && *it != b'_');
    match end.unwrap_or(text.len()) {
        0 => Err(Error::BadName),
        end => Ok(text.split_at(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Source for Fixed {
        fn append(&self, var: &Var, out: &mut Vec<u8>) -> bool {
            match var {
                Var::Arg(name) => out.extend_from_slice(name),
                Var::Capture(number) => out.push(b'0' + number),
                _ => return false,
            }
            true
        }
    }

    fn value(text: &str) -> Result<String, Error> {
        let template = Template::compile(text, &Names::default())?;
        Ok(String::from_utf8_lossy(&template.value(&Fixed)).into_owned())
    }

    #[test]
    fn variables_end_where_nginx_ends_them() {
        assert_eq!(value("a$arg_b-c").as_deref(), Ok("ab-c"));
        assert_eq!(value("${arg_x}y$12").as_deref(), Ok("xy12"));
        assert_eq!(value("$host").as_deref(), Ok(""));
        assert_eq!(value("plain").as_deref(), Ok("plain"));
    }

    #[test]
    fn bad_texts_are_refused() {
        assert_eq!(value("a$"), Err(Error::BadName));
        assert_eq!(value("${}"), Err(Error::BadName));
        assert_eq!(value("${host"), Err(Error::Unclosed("host".into())));
        assert_eq!(value("$nosuch"), Err(Error::Unknown("nosuch".into())));
    }
}
