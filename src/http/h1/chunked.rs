//! Chunked bodies (RFC 9112 section 7.1): a decoder that takes bytes as they come, and the framing
//! around chunks that are sent.
//!
//! The decoder copies nothing: it says how many of the bytes it was shown are framing and how many
//! are body. Trailers are checked and dropped.

use thiserror::Error;

/// Bytes that all chunk extensions of one body may have together.
pub const MOST_EXTENSION_BYTES: u32 = 16 << 10;

/// Bytes that all trailers of one body may have together.
pub const MOST_TRAILER_BYTES: u32 = 16 << 10;

/// Digits of a chunk's size; more are refused in a request even if they are zeros.
const MOST_DIGITS: u32 = 16;

/// The framing behind the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk and the empty trailer: the end of a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How closely a body has to keep to the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Of a client: the letter of RFC 9112, and nothing that two parsers could read differently.
    /// Lines end with CR LF, a size is 1 to 16 digits with `;` or the end of the line behind it,
    /// trailers are well-formed fields that frame nothing.
    Strict,
    /// Of an upstream: what nginx 1.22 accepts (`ngx_http_parse_chunked`), which is lines that end
    /// with LF alone, blanks behind a size, and any text as a trailer.
    Lenient,
}

/// Why a body is none.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ChunkError {
    /// No digits, a sign, `0x`, too many digits, or a size beyond 2^63 - 1.
    #[error("invalid chunk size")]
    Size,
    /// A CR or a control character in a chunk extension.
    #[error("invalid chunk extension")]
    Extension,
    /// More than [`MOST_EXTENSION_BYTES`].
    #[error("too long chunk extensions")]
    LongExtensions,
    /// Data that is longer or shorter than its chunk's size.
    #[error("no line end behind a chunk")]
    DataEnd,
    /// A trailer that is no header field, or one that may not be a trailer.
    #[error("invalid trailer")]
    Trailer,
    /// More than [`MOST_TRAILER_BYTES`].
    #[error("too long trailers")]
    LongTrailers,
}

/// What the bytes shown to [`Decoder::decode`] begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// So many bytes of framing,
    pub framing: usize,
    /// then so many bytes of the body.
    pub data: usize,
    /// The body ends here; what follows is not its own.
    pub end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SizeStart,
    Size,
    Extension,
    SizeLf,
    Data,
    DataEnd,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// The decoder of one body.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    policy: Policy,
    /// Digits of the current size; what is left of the current chunk, in bytes.
    digits: u32,
    left: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
    name: TrailerName,
}

impl Decoder {
    /// A decoder at the beginning of a body.
    pub fn new(policy: Policy) -> Self {
        Self {
            state: State::SizeStart,
            policy,
            digits: 0,
            left: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            name: TrailerName::default(),
        }
    }

    /// Whether the end of the body was seen.
    pub fn is_over(&self) -> bool {
        self.state == State::End
    }

    /// Looks at the next bytes of the body, up to the end of the first run of data in them. The
    /// caller shows the bytes behind it next. Where neither data nor the end was found, all of
    /// `input` was framing, and more is needed.
    ///
    /// # Errors
    /// The body is none; nothing may be read any more.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, ChunkError> {
        for (at, byte) in input.iter().enumerate() {
            match self.state {
                State::Data => {
                    let here = (input.len() - at) as u64;
                    let data = here.min(self.left);
                    self.left -= data;
                    if self.left == 0 {
                        self.state = State::DataEnd;
                    }
                    // Not more than `input` has.
                    return Ok(Decoded { framing: at, data: data as usize, end: false });
                }
                State::End => return Ok(Decoded { framing: at, data: 0, end: true }),
                _ => self.state = self.frame(*byte)?,
            }
        }
        Ok(Decoded { framing: input.len(), data: 0, end: self.is_over() })
    }

    /// The state behind a byte that is no data.
    fn frame(&mut self, byte: u8) -> Result<State, ChunkError> {
        match self.state {
            State::SizeStart | State::Size => self.size(byte),
            State::Extension => self.extension(byte),
            State::SizeLf if byte == b'\n' => Ok(self.behind_size()),
            State::SizeLf => Err(ChunkError::Extension),
            State::DataEnd => match byte {
                b'\r' => Ok(State::DataLf),
                b'\n' if self.is_lenient() => Ok(State::SizeStart),
                _ => Err(ChunkError::DataEnd),
            },
            State::DataLf if byte == b'\n' => Ok(State::SizeStart),
            State::DataLf => Err(ChunkError::DataEnd),
            State::EndLf if byte == b'\n' => Ok(State::End),
            State::EndLf => Err(ChunkError::Trailer),
            _ => self.trailer(byte),
        }
    }

    fn is_lenient(&self) -> bool {
        self.policy == Policy::Lenient
    }

    fn size(&mut self, byte: u8) -> Result<State, ChunkError> {
        let first = self.state == State::SizeStart;
        let Some(digit) = (byte as char).to_digit(16) else {
            return match byte {
                _ if first => Err(ChunkError::Size),
                b'\r' => Ok(State::SizeLf),
                b'\n' if self.is_lenient() => Ok(self.behind_size()),
                b' ' | b'\t' if self.is_lenient() => Ok(State::Extension),
                b';' => Ok(State::Extension),
                _ => Err(ChunkError::Size),
            };
        };
        if first {
            self.left = 0;
            self.digits = 0;
        }
        self.digits += 1;
        if self.digits > MOST_DIGITS {
            if !self.is_lenient() {
                return Err(ChunkError::Size);
            }
            self.count_extension()?;
        }
        self.left = self.left << 4 | u64::from(digit);
        if self.left > i64::MAX as u64 {
            return Err(ChunkError::Size);
        }
        Ok(State::Size)
    }

    fn count_extension(&mut self) -> Result<(), ChunkError> {
        self.extension_bytes += 1;
        match self.extension_bytes > MOST_EXTENSION_BYTES {
            true => Err(ChunkError::LongExtensions),
            false => Ok(()),
        }
    }

    fn extension(&mut self, byte: u8) -> Result<State, ChunkError> {
        match byte {
            b'\r' => return Ok(State::SizeLf),
            b'\n' if self.is_lenient() => return Ok(self.behind_size()),
            _ if !self.is_lenient() && is_control(byte) => return Err(ChunkError::Extension),
            _ => {}
        }
        self.count_extension()?;
        Ok(State::Extension)
    }

    fn behind_size(&self) -> State {
        if self.left == 0 { State::TrailerStart } else { State::Data }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MOST_TRAILER_BYTES {
            return Err(ChunkError::LongTrailers);
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart, b'\n') if self.is_lenient() => Ok(State::End),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::TrailerLf, _) => Err(ChunkError::Trailer),
            (State::TrailerStart | State::TrailerName, _) if !self.is_lenient() => {
                if self.state == State::TrailerStart {
                    self.name = TrailerName::default();
                }
                self.trailer_name(byte)
            }
            (_, b'\r') => Ok(State::TrailerLf),
            (_, b'\n') if self.is_lenient() => Ok(State::TrailerStart),
            (_, byte) if !self.is_lenient() && is_control(byte) => Err(ChunkError::Trailer),
            _ => Ok(State::TrailerValue),
        }
    }

    fn trailer_name(&mut self, byte: u8) -> Result<State, ChunkError> {
        match byte {
            b':' if self.name.may_be_a_trailer() => Ok(State::TrailerValue),
            byte if is_token(byte) => {
                self.name.push(byte);
                Ok(State::TrailerName)
            }
            _ => Err(ChunkError::Trailer),
        }
    }
}

/// The longest name in [`FRAMING`].
const LONGEST_NAME: usize = "transfer-encoding".len();

/// Fields that decide about the message they are in, and so cannot come behind it.
const FRAMING: [&[u8]; 4] = [b"content-length", b"transfer-encoding", b"host", b"authorization"];

/// As much of a trailer's name as has to be known.
#[derive(Clone, Debug, Default)]
struct TrailerName {
    start: [u8; LONGEST_NAME],
    length: usize,
}

impl TrailerName {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.start.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
    }

    fn may_be_a_trailer(&self) -> bool {
        let name = self.start.get(..self.length).unwrap_or_default();
        self.length > 0 && !FRAMING.iter().any(|it| name.eq_ignore_ascii_case(it))
    }
}

/// A control character other than the tab.
fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7f
}

/// A character of a field's name (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The line in front of a chunk: its size in hexadecimal digits, as nginx writes it.
#[derive(Clone, Copy, Debug)]
pub struct ChunkSize {
    text: [u8; LONGEST_SIZE],
    start: usize,
}

/// 16 digits, CR and LF.
const LONGEST_SIZE: usize = 18;

impl ChunkSize {
    /// The line for a chunk of `length` bytes. A chunk of none would end the body: send nothing.
    pub fn of(length: usize) -> Self {
        let mut text = [0; LONGEST_SIZE];
        text[LONGEST_SIZE - 2..].copy_from_slice(b"\r\n");
        let mut start = LONGEST_SIZE - 2;
        let mut left = length;
        loop {
            start -= 1;
            text[start] = b"0123456789abcdef"[left & 15];
            left >>= 4;
            if left == 0 || start == 0 {
                return Self { text, start };
            }
        }
    }

    /// The line's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

/// Appends `data` as one chunk, or nothing where it is empty.
pub fn append_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        out.extend_from_slice(ChunkSize::of(data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(CHUNK_END);
    }
}

/// Bytes that a chunk of `length` bytes takes on the wire, framing included; 0 for an empty one.
pub fn wire_length(length: usize) -> usize {
    match length {
        0 => 0,
        length => ChunkSize::of(length).as_bytes().len() + length + CHUNK_END.len(),
    }
}

#[cfg(test)]
mod tests;
