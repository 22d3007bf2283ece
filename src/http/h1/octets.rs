//! Which bytes may stand where in a head: tables, and eight bytes at a time.

/// What a byte is in the name of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A letter, a digit, `-`.
    Plain,
    /// `_`: kept where the configuration says so.
    Underscore,
    /// nginx drops the field.
    Odd,
    /// The name's end.
    Colon,
    /// The head is refused: white space, control characters.
    Bad,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Odd; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => Class::Plain,
            b'_' => Class::Underscore,
            b':' => Class::Colon,
            0..=b' ' | 0x7f => Class::Bad,
            _ => Class::Odd,
        };
        byte += 1;
    }
    classes
};

/// How long the name is that `line` begins with, and whether nginx keeps a field of that name
/// (`underscores_in_headers`, `ignore_invalid_headers on`). A colon should be behind it.
pub(super) fn name(line: &[u8], underscores: bool) -> (usize, bool) {
    let mut kept = true;
    for (at, byte) in line.iter().enumerate() {
        match CLASSES[usize::from(*byte)] {
            Class::Plain => {}
            Class::Underscore => kept &= underscores,
            Class::Odd => kept = false,
            Class::Colon | Class::Bad => return (at, kept),
        }
    }
    (line.len(), kept)
}

/// How many bytes of a method `line` begins with (nginx: capitals, `_`, `-`).
pub(super) fn method(line: &[u8]) -> usize {
    let is_method = |it: &&u8| matches!(it, b'A'..=b'Z' | b'_' | b'-');
    line.iter().take_while(is_method).count()
}

/// How many bytes of a target `line` begins with: up to a blank, a control character, or a
/// fragment.
pub(super) fn target(line: &[u8]) -> usize {
    first::<{ b' ' + 1 }>(line, b'#', |it| *it <= b' ' || *it == 0x7f || *it == b'#')
}

/// How many bytes of a version `line` begins with: up to a control character.
pub(super) fn version(line: &[u8]) -> usize {
    control(line)
}

/// How many bytes of a value `line` begins with: up to a control character other than a tab.
pub(super) fn value(line: &[u8]) -> usize {
    let mut from = 0;
    loop {
        let rest = &line[from..];
        let at = from + control(rest);
        match line.get(at) {
            Some(b'\t') => from = at + 1,
            _ => return at,
        }
    }
}

/// Where the first control character is.
fn control(text: &[u8]) -> usize {
    first::<b' '>(text, 0x7f, |it| *it < b' ' || *it == 0x7f)
}

/// Where the first byte of `text` is that is below `BELOW`, DEL or `mark`, as `is_one` says it of
/// a byte; the length of `text` where there is none. Eight bytes at a time.
fn first<const BELOW: u8>(text: &[u8], mark: u8, is_one: impl Fn(&u8) -> bool) -> usize {
    let found = |word: u64| {
        (below(word, BELOW)
            | nought(word ^ (ONES * 0x7f))
            | nought(word ^ (ONES * u64::from(mark))))
            & TOPS
    };
    first_in_words(text, found)
        .unwrap_or_else(|| text.iter().position(is_one).unwrap_or(text.len()))
}

/// Bytes of `word` that are below `limit` have their top bit set, and maybe bytes behind one: what
/// is too small borrows.
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word
}

/// The same of bytes that are nought.
fn nought(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

/// Where the first byte is whose top bit `found` sets, the length where there is none; `None` of a
/// text that is no word long.
fn first_in_words(text: &[u8], found: impl Fn(u64) -> u64) -> Option<usize> {
    let behind = |found: u64| found.trailing_zeros() as usize / 8;
    let last = text.last_chunk::<8>()?;
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = found(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + behind(found));
        }
    }
    if rest.is_empty() {
        return Some(text.len());
    }
    // The last eight bytes: some of them once more, which are known to be none.
    let found = found(u64::from_le_bytes(*last));
    Some(text.len() - 8 + if found == 0 { 8 } else { behind(found) })
}

/// How many bytes of `text` the access log takes as they are: up to `"`, `\\`, a control character,
/// DEL, or a byte beyond.
pub fn unescaped(text: &[u8]) -> usize {
    let found = |word: u64| {
        let marks =
            nought(word ^ (ONES * u64::from(b'"'))) | nought(word ^ (ONES * u64::from(b'\\')));
        (below(word, b' ') | nought(word ^ (ONES * 0x7f)) | marks | word) & TOPS
    };
    let is_one = |it: &u8| *it < b' ' || *it >= 0x7f || matches!(it, b'"' | b'\\');
    first_in_words(text, found)
        .unwrap_or_else(|| text.iter().position(is_one).unwrap_or(text.len()))
}

/// Whether `text` can be the name of a field as nginx sees it: anything that ends none, and not
/// nothing.
pub fn is_name(text: &[u8]) -> bool {
    let found = |word: u64| {
        let colon = nought(word ^ (ONES * u64::from(b':')));
        (below(word, b' ' + 1) | nought(word ^ (ONES * 0x7f)) | colon | word) & TOPS
    };
    let is_one = |it: &u8| *it <= b' ' || *it == b':' || *it >= 0x7f;
    let ends = first_in_words(text, found)
        .unwrap_or_else(|| text.iter().position(is_one).unwrap_or(text.len()));
    !text.is_empty() && ends == text.len()
}

/// Whether `text` is made of the characters of a field's name (RFC 9110 section 5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    text.iter().fold(true, |so_far, it| so_far & TOKEN[usize::from(*it)])
}

const TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        token[byte] = match byte as u8 {
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'.' | b'^' | b'`' | b'|' | b'~' => true,
            _ => matches!(CLASSES[byte], Class::Plain | Class::Underscore),
        };
        byte += 1;
    }
    token
};

/// Every byte of a word.
const ONES: u64 = u64::MAX / 255;
const TOPS: u64 = ONES * 0x80;

/// Whether `text` has a byte below the blank or DEL. A tab counts only where `tab` is not allowed.
pub fn has_control(text: &[u8], tab: bool) -> bool {
    let end = if tab { value(text) } else { control(text) };
    end < text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_value_or_a_target_is_found_wherever_it_is() {
        for length in 0..40 {
            let clean: Vec<u8> = (0..length).map(|it| b'$' + (it * 7 % 90) as u8).collect();
            assert_eq!((value(&clean), target(&clean)), (length, length));
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut text = clean.clone();
                    text[at] = byte;
                    let is_control = byte < b' ' || byte == 0x7f;
                    let ends = if is_control && byte != b'\t' { at } else { length };
                    assert_eq!(value(&text), ends, "{byte} at {at}");
                    assert_eq!(has_control(&text, true), ends < length);
                    assert_eq!(has_control(&text, false), is_control);
                    let ends = if is_control || matches!(byte, b' ' | b'#') { at } else { length };
                    assert_eq!(target(&text), ends, "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn what_a_log_escapes_and_what_ends_a_name_is_found_wherever_it_is() {
        for length in 1..40 {
            let clean: Vec<u8> = (0..length).map(|it| b'a' + (it * 7 % 26) as u8).collect();
            assert!(unescaped(&clean) == length && is_name(&clean) && is_token(&clean));
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut text = clean.clone();
                    text[at] = byte;
                    let odd = !(b' '..0x7f).contains(&byte);
                    let ends = if odd || matches!(byte, b'"' | b'\\') { at } else { length };
                    assert_eq!(unescaped(&text), ends, "{byte} at {at}");
                    assert_eq!(is_name(&text), !odd && !matches!(byte, b' ' | b':'), "{byte}");
                    let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
                    assert_eq!(is_token(&text), token, "{byte}");
                }
            }
        }
        assert!(unescaped(b"") == 0 && !is_name(b"") && is_token(b""));
    }

    #[test]
    fn names_end_with_a_colon_and_may_be_dropped() {
        let cases = [
            ("Host:", 4, true),
            ("a-1: x", 3, true),
            ("a_b:", 3, false),
            ("a.b:", 3, false),
            ("h\u{e4}:", 3, false),
            (":", 0, true),
            ("a b:", 1, true),
            ("a\t:", 1, true),
            ("a", 1, true),
            ("", 0, true),
        ];
        for (line, length, kept) in cases {
            assert_eq!(name(line.as_bytes(), false), (length, kept), "{line:?}");
        }
        assert_eq!(name(b"a_b:", true), (3, true));
        assert_eq!((method(b"GET /"), method(b"get"), method(b"M-S_X")), (3, 0, 5));
        assert!(is_token(b"X-a_b!") && !is_token(b"a b") && !is_token(b"a:"));
    }
}
