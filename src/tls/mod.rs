//! TLS by the system's OpenSSL: contexts built from the configuration, streams that know no HTTP.

mod certificate;
mod client;
mod endpoint;
mod established;
mod handshake;
mod server;
mod stream;
mod words;

pub use certificate::Files;
pub use client::{Client, Peer};
pub use endpoint::{AskedOf, Choice, Endpoint, Names};
pub use established::Established;
pub use handshake::{Handshake, Question, Session, Wanted};
pub use server::{Server, server};
pub use stream::{RECORD_BYTES, Shaken, TlsStream};

#[cfg(test)]
mod tests;
