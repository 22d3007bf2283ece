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

/// The length of the name that `line` begins with, a colon behind it, and whether nginx keeps such
/// a field (`underscores_in_headers`, `ignore_invalid_headers on`). `None` for what is no field.
pub(super) fn name(line: &[u8], underscores: bool) -> Option<(usize, bool)> {
    let mut kept = true;
    for (at, byte) in line.iter().enumerate() {
        match CLASSES[usize::from(*byte)] {
            Class::Plain => {}
            Class::Underscore => kept &= underscores,
            Class::Odd => kept = false,
            Class::Colon => return (at > 0).then_some((at, kept)),
            Class::Bad => return None,
        }
    }
    None
}

/// Whether `byte` may be part of a method (nginx: capitals, `_`, `-`).
pub(super) const fn is_method(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'_' | b'-')
}

/// Whether `text` is made of the characters of a field's name (RFC 9110 section 5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    text.iter().all(|it| match CLASSES[usize::from(*it)] {
        Class::Plain | Class::Underscore => true,
        Class::Odd => b"!#$%&'*+.^`|~".contains(it),
        Class::Colon | Class::Bad => false,
    })
}

/// Every byte of a word.
const ONES: u64 = u64::MAX / 255;
const TOPS: u64 = ONES * 0x80;

/// Whether `text` has a byte below the blank or DEL. A tab counts only where `tab` is not allowed.
pub fn has_control(text: &[u8], tab: bool) -> bool {
    let is_control = |it: &u8| *it < b' ' && !(tab && *it == b'\t') || *it == 0x7f;
    let (words, rest) = text.as_chunks::<8>();
    let suspicious = words.iter().any(|word| {
        let word = u64::from_le_bytes(*word);
        // A byte below the blank borrows into its top bit; DEL is nought once turned over. What
        // this finds and is none (after a borrow, a tab) is looked at below.
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let del = word ^ (ONES * 0x7f);
        (below | del.wrapping_sub(ONES) & !del) & TOPS != 0
    });
    rest.iter().any(is_control) || (suspicious && text.iter().any(is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_found_wherever_they_are() {
        for length in 0..40 {
            let clean: Vec<u8> = (0..length).map(|it| b' ' + (it * 7 % 95) as u8).collect();
            assert!(!has_control(&clean, false), "{length}");
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut text = clean.clone();
                    text[at] = byte;
                    let want = byte < b' ' || byte == 0x7f;
                    assert_eq!(has_control(&text, false), want, "{byte} at {at}");
                    assert_eq!(has_control(&text, true), want && byte != b'\t', "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn names_end_with_a_colon_and_may_be_dropped() {
        let cases = [
            ("Host:", Some((4, true))),
            ("a-1: x", Some((3, true))),
            ("a_b:", Some((3, false))),
            ("a.b:", Some((3, false))),
            ("h\u{e4}:", Some((3, false))),
            (":", None),
            ("a b:", None),
            ("a\t:", None),
            ("a", None),
            ("", None),
        ];
        for (line, want) in cases {
            assert_eq!(name(line.as_bytes(), false), want, "{line:?}");
        }
        assert_eq!(name(b"a_b:", true), Some((3, true)));
    }
}
