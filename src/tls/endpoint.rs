//! A listener's TLS: which server a client means, and what is agreed with it.

use super::handshake::Question;
use crate::sys::openssl as unwrapped;
use crate::sys::openssl::Certify;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    AlpnError, ClientHelloResponse, NameType, SniError, Ssl, SslAlert, SslContext,
    SslContextBuilder, SslRef, SslSession,
};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The extension with a ticket (RFC 5077, section 3.2).
const SESSION_TICKET: u16 = 35;
/// The extension that lists versions (RFC 8446, section 4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;

/// What one server says of TLS, for a listener that asks by name.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Its certificates and the rest; `None` refuses the handshake.
    pub server: Option<&'a super::Server>,
    /// HTTP/2 may be agreed upon.
    pub http2: bool,
}

/// The servers behind a listener.
pub trait Names: Send + Sync {
    /// The server that a client means by `name`, which is lower case and has no dot at its end;
    /// `None`: it names none. The default server is for names that are unknown.
    fn choose(&self, name: Option<&[u8]>) -> Choice<'_>;
}

/// A listener's TLS.
#[derive(Clone)]
pub struct Endpoint {
    /// What handshakes begin with: that of the default server.
    context: SslContext,
    names: Arc<dyn Names>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// A handshake under way, as its callbacks see it.
struct Negotiation {
    names: Arc<dyn Names>,
    /// HTTP/2 may be agreed upon.
    http2: bool,
    /// What scripts have said to the two questions.
    hello: Answer,
    fetch: Answer,
    certificate: Answer,
    /// What a script has found of the session that the client would resume.
    found: Option<SslSession>,
    /// The session that the handshake has made.
    made: Option<SslSession>,
}

/// What scripts are asked in handshakes of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedOf {
    /// `ssl_client_hello_by_lua*`
    pub hello: bool,
    /// `ssl_certificate_by_lua*`
    pub certificate: bool,
    /// `ssl_session_fetch_by_lua*`
    pub fetch: bool,
    /// `ssl_session_store_by_lua*`
    pub store: bool,
}

/// Where a question to a script stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answer {
    /// Nobody was asked.
    #[default]
    Unasked,
    /// It is being asked.
    Awaited,
    /// The handshake goes on.
    Yes,
    /// It fails.
    No,
}

impl Negotiation {
    /// Where a question stands, if it is one that a handshake waits for.
    fn answer(&mut self, question: Question) -> Option<&mut Answer> {
        match question {
            Question::Hello => Some(&mut self.hello),
            Question::Fetch => Some(&mut self.fetch),
            Question::Certificate => Some(&mut self.certificate),
            Question::Store => None,
        }
    }
}

/// Where connections carry their [`Negotiation`].
static NEGOTIATION: OnceLock<Option<Index<Ssl, Negotiation>>> = OnceLock::new();

fn negotiation() -> Option<Index<Ssl, Negotiation>> {
    *NEGOTIATION.get_or_init(|| Ssl::new_ex_index().ok())
}

impl Endpoint {
    /// A listener whose handshakes begin with `context`, and go on with that of the server that
    /// `names` finds.
    pub fn new(context: SslContext, names: Arc<dyn Names>) -> Self {
        Self { context, names }
    }

    /// TLS for one more client.
    ///
    /// # Errors
    /// When memory is short.
    pub fn accept(&self) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        let http2 = self.names.choose(None).http2;
        if let Some(index) = negotiation() {
            ssl.set_ex_data(
                index,
                Negotiation {
                    names: Arc::clone(&self.names),
                    http2,
                    hello: Answer::default(),
                    fetch: Answer::default(),
                    certificate: Answer::default(),
                    found: None,
                    made: None,
                },
            );
        }
        ssl.set_accept_state();
        Ok(ssl)
    }
}

/// Lets handshakes of `context` find their server by name, and agree on HTTP's version.
pub(super) fn follow_names(context: &mut SslContextBuilder) {
    context.set_servername_callback(on_name);
    context.set_alpn_select_callback(select);
}

/// Lets scripts have a say in handshakes of `context`, whose clients may have `tickets`.
pub(super) fn ask_scripts(context: &mut SslContextBuilder, asked: AskedOf, tickets: bool) {
    if asked.hello || asked.fetch {
        context.set_client_hello_callback(move |ssl, _| {
            if asked.hello {
                match ask(ssl, Question::Hello) {
                    Answer::Yes => {}
                    Answer::No => return Err(ErrorStack::get()),
                    Answer::Unasked | Answer::Awaited => return Ok(ClientHelloResponse::RETRY),
                }
            }
            // OpenSSL does not wait where it looks for the session: it is found here, before.
            if asked.fetch && would_resume(ssl, tickets) && ask(ssl, Question::Fetch).is_open() {
                return Ok(ClientHelloResponse::RETRY);
            }
            Ok(ClientHelloResponse::SUCCESS)
        });
    }
    if asked.fetch {
        unwrapped::set_session_finder(context, |ssl, id| {
            let negotiation = ssl.ex_data_mut(negotiation()?)?;
            negotiation.found.take().filter(|it| it.id() == id)
        });
    }
    if asked.store {
        context.set_new_session_callback(|ssl, session| {
            if let Some(negotiation) = negotiation().and_then(|it| ssl.ex_data_mut(it)) {
                negotiation.made = Some(session);
            }
        });
    }
    if asked.certificate {
        unwrapped::set_certifier(context, |ssl| match ask(ssl, Question::Certificate) {
            Answer::Yes => Certify::GoOn,
            Answer::No => Certify::Fail,
            Answer::Unasked | Answer::Awaited => Certify::Wait,
        });
    }
}

impl Answer {
    fn is_open(self) -> bool {
        matches!(self, Self::Unasked | Self::Awaited)
    }
}

/// Whether OpenSSL will look for the session that the client names: up to TLS 1.2, and unless a
/// ticket tells it (`ssl_get_prev_session`).
fn would_resume(ssl: &SslRef, tickets: bool) -> bool {
    let extensions = unwrapped::hello_extensions(ssl);
    let extension = |number| extensions.iter().find(|it| it.0 == number).map(|it| &it.1[..]);
    let has_ticket = tickets && extension(SESSION_TICKET).is_some_and(|it| !it.is_empty());
    let offered = extension(SUPPORTED_VERSIONS).and_then(|it| it.get(1..)).unwrap_or_default();
    let is_newest = unwrapped::speaks_tls13(ssl) && offered.chunks_exact(2).any(|it| it == [3, 4]);
    !has_ticket && !is_newest && ssl.client_hello_session_id().is_some_and(|it| !it.is_empty())
}

/// What is known of a question; from now on it is asked.
fn ask(ssl: &mut SslRef, question: Question) -> Answer {
    let negotiation = negotiation().and_then(|it| ssl.ex_data_mut(it));
    let Some(answer) = negotiation.and_then(|it| it.answer(question)) else {
        return Answer::Yes;
    };
    if *answer == Answer::Unasked {
        *answer = Answer::Awaited;
    }
    *answer
}

/// The question about the client's hello that a handshake waits with.
pub(super) fn asked_of_hello(ssl: &SslRef) -> Question {
    let negotiation = negotiation().and_then(|it| ssl.ex_data(it));
    match negotiation {
        Some(it) if it.fetch == Answer::Awaited => Question::Fetch,
        _ => Question::Hello,
    }
}

/// What a script has said to `question`: the handshake goes on, or fails.
pub(super) fn answered(ssl: &mut SslRef, question: Question, goes_on: bool) {
    let negotiation = negotiation().and_then(|it| ssl.ex_data_mut(it));
    if let Some(answer) = negotiation.and_then(|it| it.answer(question)) {
        *answer = if goes_on { Answer::Yes } else { Answer::No };
    }
}

/// A script has found the session that the client would resume.
pub(super) fn found(ssl: &mut SslRef, session: SslSession) {
    if let Some(negotiation) = negotiation().and_then(|it| ssl.ex_data_mut(it)) {
        negotiation.found = Some(session);
    }
}

/// The session that the handshake has made, where a script is to keep it; once.
pub(super) fn made(ssl: &mut SslRef) -> Option<SslSession> {
    ssl.ex_data_mut(negotiation()?)?.made.take()
}

fn on_name(ssl: &mut SslRef, alert: &mut SslAlert) -> Result<(), SniError> {
    let name = ssl.servername(NameType::HOST_NAME).map(|it| {
        let name = it.to_ascii_lowercase();
        name.strip_suffix('.').unwrap_or(&name).to_owned()
    });
    let Some(index) = negotiation() else { return Ok(()) };
    let Some(negotiation) = ssl.ex_data_mut(index) else { return Ok(()) };
    let names = Arc::clone(&negotiation.names);
    let choice = names.choose(name.as_deref().map(str::as_bytes));
    negotiation.http2 = choice.http2;
    let Some(server) = choice.server.filter(|it| !it.rejects) else {
        *alert = SslAlert::UNRECOGNIZED_NAME;
        return Err(SniError::ALERT_FATAL);
    };
    server.apply(ssl).map_err(|_| SniError::ALERT_FATAL)
}

/// As nginx: HTTP/2 first where it may be; who offers neither is refused.
fn select<'a>(ssl: &mut SslRef, offered: &'a [u8]) -> Result<&'a [u8], AlpnError> {
    let http2 = negotiation().and_then(|it| ssl.ex_data(it)).is_some_and(|it| it.http2);
    let wanted: &[u8] = if http2 {
        b"\x02h2\x08http/1.1\x08http/1.0\x08http/0.9"
    } else {
        b"\x08http/1.1\x08http/1.0\x08http/0.9"
    };
    openssl::ssl::select_next_proto(wanted, offered).ok_or(AlpnError::ALERT_FATAL)
}
