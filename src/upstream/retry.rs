//! `proxy_next_upstream` as a table: after a fault, is another peer tried, and what does it count?

use super::peer::Outcome;
use crate::config::model::NextUpstream;

/// What went wrong with a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection, or it broke before the response head was complete.
    Error,
    /// Connecting, sending or waiting for the head took too long.
    Timeout,
    /// The head was empty or no HTTP.
    InvalidHeader,
    /// A whole head with this status.
    Status(u16),
}

impl Fault {
    /// nginx's bit for it, `NGX_HTTP_UPSTREAM_FT_…`, by which its log names it.
    pub fn mask(self) -> u32 {
        match self {
            Self::Error => 0x2,
            Self::Timeout => 0x4,
            Self::InvalidHeader => 0x8,
            Self::Status(500) => 0x10,
            Self::Status(502) => 0x20,
            Self::Status(503) => 0x40,
            Self::Status(504) => 0x80,
            Self::Status(403) => 0x100,
            Self::Status(404) => 0x200,
            Self::Status(429) => 0x400,
            Self::Status(_) => 0,
        }
    }
}

/// What a request may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Peers left for it, the one that just failed included: [`super::Group::tries`] at first, at
    /// most `proxy_next_upstream_tries` where that is set, less one for each try that ended.
    pub left: u32,
    /// Time since the first try, milliseconds.
    pub elapsed_ms: u64,
    /// `proxy_next_upstream_timeout`, milliseconds; 0 is no limit.
    pub limit_ms: u64,
}

/// What is known of the request and of the connection that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// False for POST, LOCK and PATCH.
    pub idempotent: bool,
    /// Whether any byte of the request was sent.
    pub request_sent: bool,
    /// Whether the body can be sent again; false once an unbuffered body has begun.
    pub can_resend: bool,
    /// Whether the connection had been kept alive: its death says nothing of the peer's other
    /// connections, so it costs no try.
    pub reused: bool,
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether another peer is to be tried.
    pub retry: bool,
    /// What passive health counts: 403 and 404 are no failures; a status that is passed on to the
    /// client is none either.
    pub counts: Outcome,
    /// What the client gets when it ends here; `None` passes the upstream's response on.
    pub status: Option<u16>,
    /// Tries left for the next one.
    pub left: u32,
}

/// Whether `method` may be sent twice: all but POST, LOCK and PATCH (nginx's list).
pub fn is_idempotent(method: &str) -> bool {
    !matches!(method, "POST" | "LOCK" | "PATCH")
}

/// Tries that a request starts with: the group's, cut by `proxy_next_upstream_tries` (0 cuts none).
pub fn first_tries(group_tries: u32, limit: u32) -> u32 {
    if limit == 0 { group_tries } else { group_tries.min(limit) }
}

/// Decides as nginx does (`ngx_http_upstream_test_next` for a status, `ngx_http_upstream_next` for
/// the rest).
pub fn judge(next: &NextUpstream, fault: Fault, exchange: Exchange, tries: Tries) -> Verdict {
    let left = tries.left.saturating_sub(1);
    let in_time = tries.limit_ms == 0 || tries.elapsed_ms < tries.limit_ms;
    let may_repeat = exchange.idempotent || !exchange.request_sent || next.non_idempotent;
    let may_resend = exchange.can_resend || !exchange.request_sent;
    let is_allowed = lists(next, fault) && may_repeat && may_resend && in_time;
    match fault {
        Fault::Status(status) => {
            let retry = is_allowed && left > 0;
            let is_fault = retry && !matches!(status, 403 | 404);
            let counts = if is_fault { Outcome::Failed } else { Outcome::Ok };
            Verdict { retry, counts, status: None, left }
        }
        Fault::Error | Fault::Timeout | Fault::InvalidHeader => {
            let stale = exchange.reused && fault == Fault::Error;
            let left = left + u32::from(stale);
            let status = if fault == Fault::Timeout { 504 } else { 502 };
            let retry = is_allowed && left > 0;
            let counts = if stale && retry { Outcome::Stale } else { Outcome::Failed };
            Verdict { retry, counts, status: Some(status), left }
        }
    }
}

/// Whether `proxy_next_upstream` names the fault. Statuses that the directive does not know never
/// match.
fn lists(next: &NextUpstream, fault: Fault) -> bool {
    if next.off {
        return false;
    }
    match fault {
        Fault::Error => next.error,
        Fault::Timeout => next.timeout,
        Fault::InvalidHeader => next.invalid_header,
        Fault::Status(status) => next.statuses.contains(&status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Exchange =
        Exchange { idempotent: true, request_sent: true, can_resend: true, reused: false };
    const TWO: Tries = Tries { left: 2, elapsed_ms: 5, limit_ms: 0 };

    fn next(words: &str) -> NextUpstream {
        let has = |word: &str| words.split(' ').any(|it| it == word);
        let statuses = words.split(' ').filter_map(|it| it.strip_prefix("http_")?.parse().ok());
        NextUpstream {
            error: has("error"),
            timeout: has("timeout"),
            invalid_header: has("invalid_header"),
            non_idempotent: has("non_idempotent"),
            statuses: statuses.collect(),
            off: has("off"),
        }
    }

    #[track_caller]
    fn row(words: &str, fault: Fault, exchange: Exchange, tries: Tries, expected: &str) {
        let verdict = judge(&next(words), fault, exchange, tries);
        let end = verdict.status.map_or("pass".to_owned(), |status| status.to_string());
        let action = if verdict.retry { "retry".to_owned() } else { end };
        assert_eq!(format!("{action} {:?} {}", verdict.counts, verdict.left), expected);
    }

    #[test]
    fn errors_and_timeouts_are_retried_by_default() {
        row("error timeout", Fault::Error, GET, TWO, "retry Failed 1");
        row("error timeout", Fault::Timeout, GET, TWO, "retry Failed 1");
        row("error timeout", Fault::InvalidHeader, GET, TWO, "502 Failed 1");
        row("error timeout invalid_header", Fault::InvalidHeader, GET, TWO, "retry Failed 1");
        row("timeout", Fault::Error, GET, TWO, "502 Failed 1");
        row("error", Fault::Timeout, GET, TWO, "504 Failed 1");
        row("", Fault::Error, GET, TWO, "502 Failed 1");
        row("off", Fault::Error, GET, TWO, "502 Failed 1");
        row("error off http_500", Fault::Status(500), GET, TWO, "pass Ok 1");
    }

    #[test]
    fn statuses_are_retried_when_listed_and_passed_on_otherwise() {
        row("error http_503", Fault::Status(503), GET, TWO, "retry Failed 1");
        row("error http_503", Fault::Status(500), GET, TWO, "pass Ok 1");
        row("error http_429", Fault::Status(429), GET, TWO, "retry Failed 1");
    }

    #[test]
    fn forbidden_and_not_found_are_no_failures() {
        row("http_404 http_403", Fault::Status(404), GET, TWO, "retry Ok 1");
        row("http_404 http_403", Fault::Status(403), GET, TWO, "retry Ok 1");
    }

    #[test]
    fn the_last_try_passes_a_status_on_and_counts_no_failure() {
        let last = Tries { left: 1, ..TWO };
        row("http_500", Fault::Status(500), GET, last, "pass Ok 0");
        row("error", Fault::Error, GET, last, "502 Failed 0");
        row("timeout", Fault::Timeout, GET, last, "504 Failed 0");
    }

    #[test]
    fn a_post_that_was_sent_is_not_sent_again() {
        let post = Exchange { idempotent: false, ..GET };
        let unsent = Exchange { request_sent: false, ..post };
        row("error http_500", Fault::Error, post, TWO, "502 Failed 1");
        row("error http_500", Fault::Status(500), post, TWO, "pass Ok 1");
        row("error non_idempotent", Fault::Error, post, TWO, "retry Failed 1");
        row("error", Fault::Error, unsent, TWO, "retry Failed 1");
        assert!(!["POST", "LOCK", "PATCH"].into_iter().any(is_idempotent));
        assert!(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].into_iter().all(is_idempotent));
    }

    #[test]
    fn an_unbuffered_body_cannot_be_sent_again() {
        let streamed = Exchange { can_resend: false, ..GET };
        let unsent = Exchange { request_sent: false, ..streamed };
        row("error", Fault::Error, streamed, TWO, "502 Failed 1");
        row("error", Fault::Error, unsent, TWO, "retry Failed 1");
    }

    #[test]
    fn time_is_up_at_the_limit() {
        let late = Tries { elapsed_ms: 100, limit_ms: 100, ..TWO };
        let early = Tries { elapsed_ms: 99, ..late };
        row("error", Fault::Error, GET, late, "502 Failed 1");
        row("http_502", Fault::Status(502), GET, late, "pass Ok 1");
        row("error", Fault::Error, GET, early, "retry Failed 1");
    }

    #[test]
    fn a_stale_kept_connection_costs_no_try() {
        let reused = Exchange { reused: true, ..GET };
        let last = Tries { left: 1, ..TWO };
        row("error", Fault::Error, reused, last, "retry Stale 1");
        row("timeout", Fault::Timeout, reused, last, "504 Failed 0");
        let post = Exchange { idempotent: false, ..reused };
        row("error", Fault::Error, post, last, "502 Failed 1");
    }

    #[test]
    fn the_tries_of_a_request_are_cut_by_the_directive() {
        assert_eq!(first_tries(3, 0), 3);
        assert_eq!(first_tries(3, 2), 2);
        assert_eq!(first_tries(1, 5), 1);
    }
}
