//! Signals as events.

use super::event::Event;
use crate::sys::errno::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

/// Signals and what they mean.
fn table() -> [(SignalKind, Event); 7] {
    [
        (SignalKind::hangup(), Event::Reload),
        (SignalKind::user_defined1(), Event::Reopen),
        (SignalKind::quit(), Event::Quit),
        (SignalKind::terminate(), Event::Stop),
        (SignalKind::interrupt(), Event::Stop),
        (SignalKind::user_defined2(), Event::Upgrade),
        (SignalKind::from_raw(libc::SIGWINCH), Event::Upgrade),
    ]
}

/// Sends an event for each signal, for as long as the runtime lives. SIGPIPE is ignored by Rust's
/// own start.
///
/// # Errors
/// `sigaction(N) failed …`.
pub(super) fn listen(events: &UnboundedSender<Event>) -> Result<(), Failure> {
    for (kind, event) in table() {
        let attempt = || format!("sigaction({})", kind.as_raw_value());
        let mut arrivals = signal(kind).map_err(|error| Failure::new(attempt(), error))?;
        let events = events.clone();
        tokio::spawn(async move {
            while arrivals.recv().await.is_some() && events.send(event).is_ok() {}
        });
    }
    Ok(())
}
