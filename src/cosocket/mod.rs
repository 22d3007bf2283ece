//! Cosockets without Lua: connections to anybody, plain or TLS, that wait in the worker's event
//! loop; pools of idle ones; what `receive` makes of the bytes. `lua/ngx/socket*` gives them to
//! scripts.

pub mod error;
pub mod intake;
pub mod pipe;
pub mod pool;
pub mod refusal;
pub mod settings;
pub mod stream;
pub mod tls;
pub mod until;

pub use error::Error;
pub use intake::{Intake, Reader};
pub use pipe::Pipe;
pub use pool::{Lease, Pools};
pub use settings::Settings;
pub use stream::{Stream, Target};
