//! The lines of a response's head, by nginx's rules.

use super::{HeadError, ReceivedHead, Span};

/// Reads `HTTP/1.1 200 OK`: where the next line begins, `None` while the line is not whole.
pub(super) fn status_line(
    input: &[u8],
    head: &mut ReceivedHead,
) -> Result<Option<usize>, HeadError> {
    const START: &[u8] = b"HTTP/";
    /// `HTTP/`, two numbers of two digits, some spaces and the status: what is longer is none.
    const LONGEST: usize = 64;
    let known = input.len().min(START.len());
    if input[..known] != START[..known] {
        return Err(HeadError::StatusLine);
    }
    let text = &input[..input.len().min(LONGEST)];
    let mut at = START.len();
    let Some(major) = number(text, &mut at, b'.')? else { return Ok(None) };
    let Some(minor) = number(text, &mut at, b' ')? else { return Ok(None) };
    while text.get(at) == Some(&b' ') {
        at += 1;
    }
    let digits = &text[at.min(text.len())..text.len().min(at + 3)];
    if !digits.iter().all(u8::is_ascii_digit) || (digits.len() < 3 && text.len() == LONGEST) {
        return Err(HeadError::StatusLine);
    }
    let Some(behind) = input.get(at + 3) else { return Ok(None) };
    if !matches!(behind, b' ' | b'.' | b'\r' | b'\n') {
        return Err(HeadError::StatusLine);
    }
    let Some(length) = memchr::memchr2(b'\r', b'\n', &input[at + 3..]) else { return Ok(None) };
    let end = at + 3 + length;
    let next = match (input[end], input.get(end + 1)) {
        (b'\n', _) => end + 1,
        (_, Some(b'\n')) => end + 2,
        (_, Some(_)) => return Err(HeadError::StatusLine),
        (_, None) => return Ok(None),
    };
    *head = ReceivedHead {
        status: digits.iter().fold(0, |sum, it| sum * 10 + u16::from(it - b'0')),
        reason: Span::new(end.min(at + 4), end),
        closes: (major, minor) < (1, 1),
        ..ReceivedHead::default()
    };
    Ok(Some(next))
}

/// Reads a number of one or two digits with `end` behind it; `None` while there is no end.
fn number(text: &[u8], at: &mut usize, end: u8) -> Result<Option<u8>, HeadError> {
    let mut value = 0;
    for (index, byte) in text.get(*at..).unwrap_or_default().iter().enumerate() {
        match byte {
            b'0'..=b'9' if index < 2 => value = value * 10 + (byte - b'0'),
            byte if *byte == end && index > 0 => {
                *at += index + 1;
                return Ok(Some(value));
            }
            _ => return Err(HeadError::StatusLine),
        }
    }
    Ok(None)
}

/// One line of a head.
pub(super) enum Line {
    /// Its end was not seen.
    Unfinished,
    Field {
        name: Span,
        value: Span,
        next: usize,
    },
    /// `HTTP/1.1 …` once more, as IIS may send it.
    Ignored {
        next: usize,
    },
    /// The end of the head.
    Empty {
        next: usize,
    },
}

/// The bytes at which a name is looked at more closely.
const ENDS_NAME: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte <= 0x20 {
        ends[byte] = true;
        byte += 1;
    }
    ends[b':' as usize] = true;
    ends[b'/' as usize] = true;
    ends[0x7f] = true;
    ends
};

/// Reads the line that begins at `start`.
pub(super) fn line(input: &[u8], start: usize) -> Result<Line, HeadError> {
    let mut at = start;
    loop {
        let name = input.get(at..).unwrap_or_default();
        at += name.iter().position(|it| ENDS_NAME[usize::from(*it)]).unwrap_or(name.len());
        let Some(&byte) = input.get(at) else { return Ok(Line::Unfinished) };
        match byte {
            b':' if at > start => break,
            b'\r' | b'\n' => return without_colon(input, start, at),
            b'/' if &input[start..at] == b"HTTP" => {
                let end = memchr::memchr(b'\n', &input[at..]);
                return Ok(end.map_or(Line::Unfinished, |it| Line::Ignored { next: at + it + 1 }));
            }
            0..=b' ' | 0x7f | b':' => return Err(HeadError::Line),
            _ => at += 1,
        }
    }
    let name = Span::new(start, at);
    at += 1;
    while input.get(at) == Some(&b' ') {
        at += 1;
    }
    let Some(end) = memchr::memchr3(b'\r', b'\n', 0, &input[at..]) else {
        return Ok(Line::Unfinished);
    };
    let Some(next) = line_end(input, at + end)? else { return Ok(Line::Unfinished) };
    let spaces = input[at..at + end].iter().rev().take_while(|it| **it == b' ').count();
    Ok(Line::Field { name, value: Span::new(at, at + end - spaces), next })
}

/// A line whose first `end - start` bytes have no colon: the empty one, or a field without value.
fn without_colon(input: &[u8], start: usize, end: usize) -> Result<Line, HeadError> {
    if end == start && input[end] == b'\r' && input.get(end + 1).is_some_and(|it| *it != b'\n') {
        return Err(HeadError::Line);
    }
    Ok(match line_end(input, end)? {
        None => Line::Unfinished,
        Some(next) if end == start => Line::Empty { next },
        Some(next) => Line::Field { name: Span::new(start, end), value: Span::new(end, end), next },
    })
}

/// Where the next line begins if one ends at `at`, by LF or by any number of CR and LF.
fn line_end(input: &[u8], at: usize) -> Result<Option<usize>, HeadError> {
    let returns = input[at..].iter().take_while(|it| **it == b'\r').count();
    match input.get(at + returns) {
        Some(b'\n') => Ok(Some(at + returns + 1)),
        Some(_) => Err(HeadError::Line),
        None => Ok(None),
    }
}
