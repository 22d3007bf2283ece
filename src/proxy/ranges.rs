//! Byte ranges: nginx's range filter. Who answers says whether its body may be cut; a head that is
//! settled says which parts of it go out.

use super::conditional;
use crate::http::date;
use crate::http::range::{self, Asked};
use crate::request::response::{Parts, Ranges};
use crate::request::{Request, ResponseHead, Version};
use bytes::Bytes;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// What separates parts: nginx counts too.
static BOUNDARY: AtomicU64 = AtomicU64::new(0);

/// Makes a 200 a 206 where the client wants a part of it, and says that it may.
///
/// # Errors
/// Nothing of what the client wants is there: 416, with a head that says how much there is.
pub(super) fn apply(request: &Request) -> Result<(), String> {
    let mut response = request.response.borrow_mut();
    let most = match response.ranges {
        Ranges::Never | Ranges::Chosen(_) => return Ok(()),
        Ranges::One => 1,
        Ranges::Any => request.conf().max_ranges,
    };
    let may = response.status == 200
        && request.version >= Version::Http10
        && !request.is_subrequest()
        && request.conf().max_ranges > 0;
    let Some(length) = response.content_length.filter(|_| may) else {
        response.ranges = Ranges::Never;
        return Ok(());
    };
    let asked = match request.headers.borrow().get(b"range") {
        Some(value) if is_same(request, &response) => range::parse(value, length, most),
        _ => Asked::Whole,
    };
    match asked {
        Asked::Whole => {
            response.headers.append("Accept-Ranges", "bytes");
            response.ranges = Ranges::Never;
            Ok(())
        }
        Asked::Parts(parts) => {
            choose(&mut response, parts, length);
            Ok(())
        }
        Asked::Nothing => {
            response.headers.append("Content-Range", format!("bytes */{length}"));
            response.content_length = None;
            response.ranges = Ranges::Never;
            Err("a range that is not there".into())
        }
    }
}

/// `If-Range`: whether the client has parts of this very body. An entity tag is compared strongly.
fn is_same(request: &Request, response: &ResponseHead) -> bool {
    let headers = request.headers.borrow();
    let Some(condition) = headers.get(b"if-range") else { return true };
    if condition.len() >= 2 && condition.ends_with(b"\"") {
        return response.headers.get(b"etag").is_some_and(|it| it == condition);
    }
    let modified = conditional::last_modified(response);
    modified.is_some() && date::parse(condition) == modified
}

fn choose(response: &mut ResponseHead, ranges: Vec<Range<u64>>, length: u64) {
    response.status = 206;
    response.reason = None;
    let shown = |it: &Range<u64>| format!("bytes {}-{}/{length}", it.start, it.end - 1);
    let parts = match ranges.as_slice() {
        [one] => {
            response.content_length = Some(one.end - one.start);
            response.headers.append("Content-Range", shown(one));
            Parts { parts: vec![(Bytes::new(), one.clone())], end: Bytes::new() }
        }
        _ => {
            let boundary = BOUNDARY.fetch_add(1, Ordering::Relaxed) + 1;
            let kind = response.content_type.take().unwrap_or_default();
            let kind = match kind.is_empty() {
                true => String::new(),
                false => format!("Content-Type: {}\r\n", String::from_utf8_lossy(&kind)),
            };
            let begin = |it| {
                let shown = shown(it);
                format!("\r\n--{boundary:020}\r\n{kind}Content-Range: {shown}\r\n\r\n").into()
            };
            let parts = ranges.iter().map(|it| (begin(it), it.clone())).collect();
            let kind = format!("multipart/byteranges; boundary={boundary:020}");
            response.content_type = Some(kind.into());
            let parts = Parts { parts, end: format!("\r\n--{boundary:020}--\r\n").into() };
            response.content_length = Some(parts.length());
            parts
        }
    };
    response.content_length_place = None;
    response.ranges = Ranges::Chosen(Box::new(parts));
}

/// Cuts one part out of a body that comes from its beginning on.
#[derive(Debug)]
pub(super) struct Cutter {
    skip: u64,
    left: u64,
}

impl Cutter {
    /// What is cut out of the response's body; `None` where all of it goes out.
    pub fn of(request: &Request) -> Option<Self> {
        match &request.response.borrow().ranges {
            Ranges::Chosen(parts) => {
                let (_, part) = parts.parts.first()?;
                Some(Self { skip: part.start, left: part.end - part.start })
            }
            _ => None,
        }
    }

    /// What goes out of the next chunk.
    pub fn cut(&mut self, mut chunk: Bytes) -> Bytes {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        let mut chunk = chunk.split_off(skipped);
        chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.skip -= skipped as u64;
        self.left -= chunk.len() as u64;
        chunk
    }

    /// Whether nothing of what follows goes out.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_out_of_chunks() {
        let mut cutter = Cutter { skip: 4, left: 5 };
        let chunks = ["abc", "d", "ef", "", "ghijk", "l"];
        let sent: Vec<_> = chunks.iter().map(|it| cutter.cut(Bytes::from(*it))).collect();
        assert_eq!(sent, ["", "", "ef", "", "ghi", ""]);
        assert!(cutter.is_over());
    }

    #[test]
    fn a_head_of_many_parts_tells_their_length() {
        let kind = Some("text/plain".into());
        let mut response = ResponseHead { content_type: kind, ..ResponseHead::default() };
        choose(&mut response, vec![0..2, 9..10], 10);
        let Ranges::Chosen(parts) = &response.ranges else { panic!("{:?}", response.ranges) };
        let all =
            parts.parts.iter().map(|(begin, part)| begin.len() as u64 + part.end - part.start);
        assert_eq!(response.content_length, Some(all.sum::<u64>() + parts.end.len() as u64));
        let begin = String::from_utf8_lossy(&parts.parts[1].0).into_owned();
        assert!(
            begin.ends_with("\r\nContent-Type: text/plain\r\nContent-Range: bytes 9-9/10\r\n\r\n")
        );
        assert_eq!(response.status, 206);
    }
}
