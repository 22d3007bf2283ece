//! A listener's TLS: which server a client means, and what is agreed with it.

use super::handshake::Question;
use crate::sys::openssl as unwrapped;
use crate::sys::openssl::Certify;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    AlpnError, ClientHelloResponse, NameType, SniError, Ssl, SslAlert, SslContext,
    SslContextBuilder, SslRef,
};
use std::fmt;
use std::sync::{Arc, OnceLock};

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
    certificate: Answer,
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
    fn answer(&mut self, question: Question) -> &mut Answer {
        match question {
            Question::Hello => &mut self.hello,
            Question::Certificate => &mut self.certificate,
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
                    certificate: Answer::default(),
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

/// Lets scripts have a say in handshakes of `context`.
pub(super) fn ask_scripts(context: &mut SslContextBuilder, hello: bool, certificate: bool) {
    if hello {
        context.set_client_hello_callback(|ssl, _| match ask(ssl, Question::Hello) {
            Answer::Yes => Ok(ClientHelloResponse::SUCCESS),
            Answer::No => Err(ErrorStack::get()),
            Answer::Unasked | Answer::Awaited => Ok(ClientHelloResponse::RETRY),
        });
    }
    if certificate {
        unwrapped::set_certifier(context, |ssl| match ask(ssl, Question::Certificate) {
            Answer::Yes => Certify::GoOn,
            Answer::No => Certify::Fail,
            Answer::Unasked | Answer::Awaited => Certify::Wait,
        });
    }
}

/// What is known of a question; from now on it is asked.
fn ask(ssl: &mut SslRef, question: Question) -> Answer {
    let Some(negotiation) = negotiation().and_then(|it| ssl.ex_data_mut(it)) else {
        return Answer::Yes;
    };
    let answer = negotiation.answer(question);
    if *answer == Answer::Unasked {
        *answer = Answer::Awaited;
    }
    *answer
}

/// What a script has said to `question`: the handshake goes on, or fails.
pub(super) fn answered(ssl: &mut SslRef, question: Question, goes_on: bool) {
    if let Some(negotiation) = negotiation().and_then(|it| ssl.ex_data_mut(it)) {
        *negotiation.answer(question) = if goes_on { Answer::Yes } else { Answer::No };
    }
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
