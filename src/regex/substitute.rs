//! Replacement: the templates of `ngx.re.sub` and the walk over matches that `sub` and `gsub` do.

use crate::regex::program::{self, ExecError, Program};
use crate::sys::pcre2::Captures;

/// A template that means nothing; the text is OpenResty's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to compile the replacement template")]
pub struct TemplateError {
    /// What OpenResty's error log says of it.
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    Group(usize),
}

/// A replacement: text, `$n` and `${n}` for groups (`$0` is the match), `$$` for a dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A lone `$`, a name where a number belongs, or a missing brace.
    pub fn compile(text: &[u8]) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let dollar = memchr::memchr(b'$', rest).unwrap_or(rest.len());
            if dollar > 0 {
                parts.push(Part::Text(rest[..dollar].into()));
            }
            let name = match &rest[dollar..] {
                [] => break,
                [_, name @ ..] => name,
            };
            rest = match name {
                [b'$', after @ ..] => {
                    parts.push(Part::Text(b"$"[..].into()));
                    after
                }
                _ => {
                    let fault = || TemplateError { detail: what_is_wrong(text, name) };
                    let (group, after) = group(name).ok_or_else(fault)?;
                    parts.push(Part::Group(group));
                    after
                }
            };
        }
        Ok(Self(parts))
    }

    /// Appends the replacement for a match in `subject`; groups that took no part are empty.
    pub fn expand_into(&self, out: &mut Vec<u8>, subject: &[u8], captures: &Captures) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Group(group) => {
                    if let Some((start, end)) = captures.get(*group) {
                        out.extend_from_slice(&subject[start..end]);
                    }
                }
            }
        }
    }
}

/// The group's number at the front of `name`, in braces or not, and what is behind it.
fn group(name: &[u8]) -> Option<(usize, &[u8])> {
    let inner = name.strip_prefix(b"{").unwrap_or(name);
    let digits = inner.iter().take_while(|it| it.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let number = inner[..digits].iter().fold(0_usize, |number, &it| {
        // No pattern has so many groups: those that overflow are empty like the others.
        number.saturating_mul(10).saturating_add(usize::from(it - b'0')).min(1 << 24)
    });
    let after = &inner[digits..];
    if inner.len() == name.len() {
        Some((number, after))
    } else {
        Some((number, after.strip_prefix(b"}")?))
    }
}

/// OpenResty's words for a `$` in `text` with `name` behind it, which is no group's number.
fn what_is_wrong(text: &[u8], name: &[u8]) -> String {
    let inner = name.strip_prefix(b"{").unwrap_or(name);
    let is_word = |it: &&u8| it.is_ascii_alphanumeric() || **it == b'_';
    let (word, after) = inner.split_at(inner.iter().take_while(is_word).count());
    let word = String::from_utf8_lossy(word);
    if inner.len() < name.len() && !inner.is_empty() && !after.starts_with(b"}") {
        return format!("the closing bracket in \"{word}\" variable is missing");
    }
    if word.is_empty() {
        let text = String::from_utf8_lossy(text);
        return format!("lua script: invalid capturing variable name found in \"{text}\"");
    }
    format!("attempt to use named capturing variable \"{word}\" (named captures not supported yet)")
}

/// Appends `subject` with its first match, or with all when `is_global`, replaced by what
/// `replace(out, captures)` appends. Returns the number of matches; at 0 nothing was appended.
///
/// # Errors
/// What a match, or `replace`, failed with.
pub fn substitute<E: From<ExecError>>(
    program: &Program,
    subject: &[u8],
    is_global: bool,
    out: &mut Vec<u8>,
    mut replace: impl FnMut(&mut Vec<u8>, &Captures) -> Result<(), E>,
) -> Result<usize, E> {
    let mut captures = Captures::new();
    let (mut count, mut copied, mut start) = (0, 0, 0);
    while start <= subject.len() && program.exec(subject, start, &mut captures)? {
        let Some((from, to)) = captures.get(0) else { break };
        count += 1;
        // `\K` in a lookahead can move the start of a match back behind what was copied.
        out.extend_from_slice(subject.get(copied..from).unwrap_or_default());
        replace(out, &captures)?;
        copied = to;
        start = program::next_start(&captures);
        if !is_global {
            break;
        }
    }
    if count > 0 {
        out.extend_from_slice(&subject[copied..]);
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regex::options::Options;

    fn sub(subject: &str, pattern: &str, template: &str, letters: &str, all: bool) -> String {
        let options = Options::parse(letters.as_bytes()).unwrap();
        let program = Program::compile(pattern.as_bytes(), options, 0).unwrap();
        let template = match Template::compile(template.as_bytes()) {
            Ok(template) => template,
            Err(error) => return error.to_string(),
        };
        let mut out = Vec::new();
        let subject = subject.as_bytes();
        let done = substitute::<ExecError>(&program, subject, all, &mut out, |out, captures| {
            template.expand_into(out, subject, captures);
            Ok(())
        });
        match done {
            Ok(count) => format!("{} {count}", String::from_utf8_lossy(&out)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn templates_mean_what_openresty_takes_them_for() {
        let bad = "failed to compile the replacement template";
        let cases = [
            ("$1", "hllo 1"),
            ("${1}", "hllo 1"),
            ("$$", "$llo 1"),
            ("$0$1$2", "hehello 1"),
            ("$10", "llo 1"),
            ("$1a", "hallo 1"),
            ("${1}2", "h2llo 1"),
            ("$$1", "$1llo 1"),
            ("$99999999999999999999", "llo 1"),
            ("", "llo 1"),
            ("$", bad),
            ("a$", bad),
            ("${", bad),
            ("${1", bad),
            ("$a", bad),
            ("${a}", bad),
            ("$1$", bad),
            ("$ ", bad),
            ("${}", bad),
            ("${12x}", bad),
        ];
        for (template, want) in cases {
            assert_eq!(sub("hello", "(h)(e)", template, "", false), want, "{template}");
        }
    }

    #[test]
    fn bad_templates_are_explained() {
        let detail = |text: &[u8]| Template::compile(text).unwrap_err().detail;
        let named = "attempt to use named capturing variable \"a_1\" (named captures not supported \
                     yet)";
        assert_eq!(detail(b"$a_1"), named);
        assert_eq!(detail(b"x${a_1}"), named);
        assert_eq!(detail(b"[${134]"), "the closing bracket in \"134\" variable is missing");
        for text in ["[$", "[${", "$-"] {
            let invalid = "lua script: invalid capturing variable name found in";
            assert_eq!(detail(text.as_bytes()), format!("{invalid} \"{text}\""));
        }
    }

    #[test]
    fn global_replacement_walks_as_openresty_does() {
        assert_eq!(sub("abc", "", "-", "", true), "-a-b-c- 4");
        assert_eq!(sub("a,b,c", ",", ";", "", true), "a;b;c 2");
        assert_eq!(sub("你好", "", "-", "u", true), "pcre_exec() failed: -11");
        assert_eq!(sub("abc", "x", "-", "", true), " 0");
        assert_eq!(sub("aXbX", "(a)|X", "[$1]", "", true), "[a][]b[] 3");
    }
}
