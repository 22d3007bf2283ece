//! `$cookie_name`: one cookie out of the request's `Cookie` fields.

/// The value of the first cookie called `name` in the `Cookie` fields' values, by the rules of
/// nginx 1.22: names without regard to case; `;` and `,` end a cookie while a name is looked for,
/// only `;` ends a value; spaces around `=` are skipped, and quotes are part of the value.
pub fn find<'a>(fields: impl IntoIterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    fields.into_iter().find_map(|field| find_in(field, name))
}

fn find_in<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = field;
    while !rest.is_empty() {
        if let Some(after) = strip_name(rest, name) {
            match after.split_first() {
                Some((b'=', value)) => {
                    let value = skip_spaces(value);
                    let end = memchr::memchr(b';', value).unwrap_or(value.len());
                    return Some(&value[..end]);
                }
                // Even if it ends the cookie, so that the cookie after a bare name is not seen.
                Some((_, after)) => rest = after,
                None => return None,
            }
        }
        let next = memchr::memchr2(b';', b',', rest)?;
        rest = skip_spaces(&rest[next + 1..]);
    }
    None
}

/// What follows `name` and spaces, where `text` begins so.
fn strip_name<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| skip_spaces(rest))
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&it| it == b' ').count();
    &text[spaces..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_nginx_in_the_corners() {
        let cases: &[(&[&str], &str, Option<&str>)] = &[
            (&["a=1; b=2"], "b", Some("2")),
            (&["a=1;b=2"], "B", Some("2")),
            (&["ab=1; a=2"], "a", Some("2")),
            (&["xa=1; a=2"], "a", Some("2")),
            (&["a=1, b=2"], "b", Some("2")),
            (&["a=1, b=2; c=3"], "a", Some("1, b=2")),
            (&["a = 1 ; b=2"], "a", Some("1 ")),
            (&["a; a=2"], "a", None),
            (&["a; b; a=2"], "a", Some("2")),
            (&["ab=1; b; a=2", "a=3"], "a", Some("2")),
            (&["a"], "a", None),
            (&["a="], "a", Some("")),
            (&["a=\"q;r\""], "a", Some("\"q")),
            (&["a=b=c"], "a", Some("b=c")),
            (&["x=1", "a=2"], "a", Some("2")),
            (&["connect.sid=s%3A1"], "connect.sid", Some("s%3A1")),
            (&["x=a=1"], "a", None),
            (&[";;a=1"], "a", Some("1")),
            (&[], "a", None),
        ];
        for (fields, name, want) in cases {
            let values = fields.iter().map(|it| it.as_bytes());
            let found = find(values, name.as_bytes());
            assert_eq!(found, want.map(str::as_bytes), "{name} in {fields:?}");
        }
    }
}
