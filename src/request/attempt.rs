//! The peers that a request tried: one row each, shown by the `$upstream_*` variables.

use crate::clock::Tick;
use crate::http::number;
use smallvec::SmallVec;
use std::sync::Arc;

/// One try at one peer.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The peer as `$upstream_addr` shows it: `127.0.0.1:8080`, `unix:/path`, or the upstream's
    /// name when no peer was to be had.
    pub peer: Arc<str>,
    /// The status: of the response, or 502 or 504 when there was none; 0 while unknown.
    pub status: u16,
    /// When the try began.
    pub started: Tick,
    /// Milliseconds until connected.
    pub connect_ms: Option<u64>,
    /// Milliseconds until the response header was read.
    pub header_ms: Option<u64>,
    /// Milliseconds until the end.
    pub response_ms: Option<u64>,
    /// Body bytes of the response.
    pub response_length: u64,
    /// Bytes read from the peer.
    pub bytes_received: u64,
    /// Bytes written to the peer.
    pub bytes_sent: u64,
    /// gRPC's status: of the trailers, of a head without body, or 14 where the response broke off;
    /// `None` where none came.
    pub grpc_status: Option<u32>,
    /// The first try of another upstream, after an internal redirect: shown behind ` : `.
    pub starts_group: bool,
}

impl Attempt {
    /// A try that begins now.
    pub fn new(peer: Arc<str>, started: Tick, starts_group: bool) -> Self {
        Self {
            peer,
            status: 0,
            started,
            connect_ms: None,
            header_ms: None,
            response_ms: None,
            response_length: 0,
            bytes_received: 0,
            bytes_sent: 0,
            grpc_status: None,
            starts_group,
        }
    }
}

/// The tries of a request in order.
#[derive(Clone, Debug, Default)]
pub struct Attempts(pub SmallVec<[Attempt; 1]>);

impl Attempts {
    /// The current try.
    pub fn last_mut(&mut self) -> Option<&mut Attempt> {
        self.0.last_mut()
    }

    /// The current try is over at `now`, with `status` if that was not known.
    pub fn end_last(&mut self, status: Option<u16>, now: Tick) {
        let Some(attempt) = self.last_mut() else { return };
        attempt.response_ms.get_or_insert(now.ms_since(attempt.started));
        attempt.status = status.unwrap_or(attempt.status);
    }

    /// All tries with `, ` between them and ` : ` between upstreams; `false` without a try.
    pub fn join(&self, out: &mut Vec<u8>, mut show: impl FnMut(&Attempt, &mut Vec<u8>)) -> bool {
        for (index, attempt) in self.0.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(if attempt.starts_group { b" : " } else { b", " });
            }
            show(attempt, out);
        }
        !self.0.is_empty()
    }
}

/// Seconds with three decimals, `-` where there is none.
pub fn seconds(ms: Option<u64>, out: &mut Vec<u8>) {
    match ms {
        Some(ms) => number::seconds_into(out, ms),
        None => out.push(b'-'),
    }
}
