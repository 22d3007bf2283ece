//! Why the head of a request is refused: the status, nginx's words for the log, the metric's label.

use thiserror::Error;

/// Why a head is refused; the connection is closed with it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// The line begins with no method.
    #[error("client sent invalid method while reading client request line")]
    Method,
    /// The line is none of HTTP, or has a byte, a blank or a fragment where none may be.
    #[error("client sent invalid request while reading client request line")]
    Request,
    /// A version other than 1.0 and 1.1.
    #[error("client sent invalid version while reading client request line")]
    Version,
    /// No version, and a method other than GET.
    #[error("client sent invalid method in HTTP/0.9 request while reading client request line")]
    Method09,
    /// The line does not fit a buffer of `large_client_header_buffers`.
    #[error("client sent too long URI while reading client request line")]
    LongLine,
    /// A field does not.
    #[error("client sent too long header line while reading client request headers")]
    LongField,
    /// All of them do not.
    #[error("client sent too large request while reading client request headers")]
    LongHead,
    /// A line that is no field: no colon, a blank before it or at its start, control characters.
    #[error("client sent invalid header line while reading client request headers")]
    Field,
    /// A field twice that there may be once.
    #[error("client sent duplicate header line while reading client request headers")]
    Duplicate,
    /// `Host` twice.
    #[error("client sent duplicate host header while reading client request headers")]
    TwoHosts,
    /// `Host` is no host.
    #[error("client sent invalid host header while reading client request headers")]
    Host,
    /// HTTP/1.1 without `Host`.
    #[error(
        "client sent HTTP/1.1 request without \"Host\" header while reading client request headers"
    )]
    NoHost,
    /// The target's host is not that of `Host`.
    #[error("client sent \"Host\" header that differs from the host of its request line")]
    OtherHost,
    /// `Content-Length` is no number.
    #[error("client sent invalid \"Content-Length\" header while reading client request headers")]
    Length,
    /// Both framings.
    #[error(
        "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time while \
         reading client request headers"
    )]
    TwoFramings,
    /// `Transfer-Encoding` in HTTP/1.0.
    #[error(
        "client sent HTTP/1.0 request with \"Transfer-Encoding\" header while reading client \
         request headers"
    )]
    Coding10,
    /// A transfer coding other than `chunked`.
    #[error("client sent unknown \"Transfer-Encoding\" while reading client request headers")]
    Coding,
    /// The client left before the end.
    #[error("client prematurely closed connection while reading client request headers")]
    Left,
    /// The end did not come within `client_header_timeout`.
    #[error("client timed out (110: Connection timed out) while reading client request headers")]
    TimedOut,
    /// `Connection` names a field that is not of one connection only.
    #[error(
        "client sent \"Connection\" header that names another header of the request's framing \
         while reading client request headers"
    )]
    Nominated,
}

impl Fault {
    /// The status that answers it; 494 is nginx's own kind of 400.
    pub const fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::LongLine => 414,
            Self::LongField | Self::LongHead => 494,
            Self::Coding => 501,
            Self::TimedOut => 408,
            _ => 400,
        }
    }

    /// The value of the metric's label: one of a dozen words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Method | Self::Method09 => "method",
            Self::Request => "request_line",
            Self::Version => "version",
            Self::LongLine | Self::LongField | Self::LongHead => "size",
            Self::Field => "header_line",
            Self::Duplicate => "duplicate",
            Self::TwoHosts | Self::Host | Self::NoHost | Self::OtherHost => "host",
            Self::Length => "content_length",
            Self::TwoFramings => "two_framings",
            Self::Coding10 | Self::Coding => "transfer_encoding",
            Self::Nominated => "connection",
            Self::Left => "left",
            Self::TimedOut => "timeout",
        }
    }

    /// Whether the head never came to its end: nobody waits for an answer.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Left | Self::TimedOut)
    }

    /// Whether it was found in the request line: nothing else of the head is known then.
    pub const fn is_of_line(self) -> bool {
        matches!(
            self,
            Self::Method | Self::Request | Self::Version | Self::Method09 | Self::LongLine
        )
    }
}
