//! The client's side of a connection: its bytes, and the deadlines that they keep.
//!
//! What is said over it is HTTP's and the proxy's; here are the socket ([`Transport`]) and how long
//! it may keep its worker waiting for the head of a request ([`HeadWait`]).

#[cfg(test)]
pub mod fixture;
mod head_wait;
mod opening;
mod transport;

pub use head_wait::{HeadWait, Verdict};
pub use opening::{Opened, Wanted, open};
pub use transport::{Begun, Transport};
