//! The client's side of a connection: its bytes, and the deadlines that they keep.
//!
//! What is said over it is the proxy's; here are the socket ([`Transport`]), how long it may keep
//! its worker waiting for the head of a request ([`HeadWait`]), and for HTTP/1 the buffers and the
//! framing of bodies ([`Wire`]).

mod alarm;
mod body;
#[cfg(test)]
pub mod fixture;
mod head_wait;
mod opening;
mod transport;
mod unsent;
mod wire;

pub use alarm::Alarm;
pub use body::{BodyFault, Framing};
pub use head_wait::{HeadWait, Verdict};
pub use opening::{Answering, Opened, Scripts, Wanted, open};
pub use transport::{Begun, Transport};
pub use wire::{HeadEnd, Wire};
