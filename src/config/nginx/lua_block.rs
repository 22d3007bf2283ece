//! Where a `*_by_lua_block { … }` ends: Lua's own lexical rules for strings, long brackets and
//! comments, so that a `}` within one of them is not taken for the end.

/// Why a block has no end, and the byte offset that the message speaks of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) offset: usize,
    pub(super) message: String,
}

/// The length of the code in `text` up to, and without, the `}` that closes the block.
pub(super) fn length(text: &str) -> Result<usize, Broken> {
    let bytes = text.as_bytes();
    let mut depth: usize = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Ok(at),
            b'}' => depth -= 1,
            quote @ (b'"' | b'\'') => {
                at = behind_string(bytes, at + 1, quote);
                continue;
            }
            b'[' => {
                if let Some(level) = long_bracket(&bytes[at..]) {
                    at = behind_long_bracket(bytes, at, level)?;
                    continue;
                }
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                let comment = at + 2;
                at = match bytes.get(comment..).and_then(long_bracket) {
                    Some(level) => behind_long_bracket(bytes, comment, level)?,
                    None => bytes[comment..]
                        .iter()
                        .position(|b| *b == b'\n')
                        .map_or(bytes.len(), |found| comment + found),
                };
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    let message = "unexpected end of file, expecting \"}\" to close a Lua code block".to_owned();
    Err(Broken { offset: text.len(), message })
}

/// The offset behind the string whose first byte within is at `at`. A string that its line does not
/// close ends with the line, as in Lua, whose compiler then says so.
fn behind_string(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if bytes.get(at + 1) == Some(&b'z') => {
                at += 2;
                while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
                    at += 1;
                }
                continue;
            }
            b'\\' if bytes.get(at + 1) == Some(&b'\r') && bytes.get(at + 2) == Some(&b'\n') => {
                at += 2;
            }
            b'\\' => at += 1,
            b'\n' => return at,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The level of the long bracket that `bytes` begins with: `[[` is 0, `[=[` is 1.
fn long_bracket(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(b"[")?;
    let level = rest.iter().take_while(|b| **b == b'=').count();
    (rest.get(level) == Some(&b'[')).then_some(level)
}

fn behind_long_bracket(bytes: &[u8], at: usize, level: usize) -> Result<usize, Broken> {
    let closing = format!("]{}]", "=".repeat(level));
    let body = at + level + 2;
    let found = bytes[body..].windows(closing.len()).position(|it| it == closing.as_bytes());
    match found {
        Some(found) => Ok(body + found + closing.len()),
        None => Err(Broken {
            offset: at,
            message: format!("Lua code block missing the closing long bracket \"{closing}\""),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ends_before(code: &str) {
        let text = format!("{code}}} rest }}");
        assert_eq!(length(&text).map(|it| &text[..it]), Ok(code));
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_count() {
        ends_before(" local t = { a = {} } ");
        ends_before(" x = \"}\" y = '}' z = '\\'}' ");
        ends_before(" x = [[ } ]] y = [=[ ]] } ]=] ");
        ends_before(" -- }\n x = 1 ");
        ends_before(" --[[ }\n } ]] x = 1 ");
        ends_before(" --[==[ }]] ]==] x = t[ [[a}]] ] ");
        ends_before(" x = 'a\\\n}' ");
        ends_before(" x = 'a\\z  \n  }' ");
        ends_before(" x = a[b[1]] - -1 ");
    }

    #[test]
    fn a_string_without_an_end_ends_with_its_line() {
        ends_before(" x = \"abc\n ");
    }

    #[test]
    fn what_is_open_is_named() {
        let broken = length(" x = 1\n y = [==[ a } ").unwrap_err();
        assert_eq!(broken.offset, 12);
        assert!(broken.message.ends_with("\"]==]\""));
        assert!(length(" a = { ").unwrap_err().message.starts_with("unexpected end of file"));
    }
}
