//! Why a request ends without the end of its answer.

use std::io;

/// The connection with the client cannot serve this request to its end, and is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It must be cut, so that the client sees that something is missing; or nothing is to be said.
    #[error("{0}")]
    Cut(&'static str),
    /// The client sent nothing of its body for `client_body_timeout`.
    #[error("client timed out (110: Connection timed out)")]
    BodyTimedOut,
    /// What the client sent as its body is none: the framing is broken.
    #[error("client sent invalid chunked body")]
    BodyInvalid,
    /// The client's connection failed, or ended too early.
    #[error("the client's connection: {0}")]
    Io(#[from] io::Error),
    /// As pingora has it, where it serves the client.
    #[error(transparent)]
    Pingora(#[from] Box<pingora::Error>),
}

/// What may end with the client's connection.
pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for Box<pingora::Error> {
    fn from(error: Error) -> Self {
        match error {
            Error::Pingora(error) => error,
            Error::Cut(why) => pingora::Error::explain(pingora::ErrorType::ConnectionClosed, why),
            other => pingora::Error::because(
                pingora::ErrorType::ConnectionClosed,
                "serving a request",
                other,
            ),
        }
    }
}
