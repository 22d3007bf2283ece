//! What `stub_status` and `$connections_*` show.

use super::catalog;

/// Clients' connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Those that are open.
    pub active: u64,
    /// Requests under way.
    pub writing: u64,
}

impl Connections {
    /// As they are now.
    pub fn now() -> Self {
        let catalog = catalog();
        Self {
            active: count(catalog.connections_active.get()),
            writing: count(catalog.requests_in_flight.get()),
        }
    }

    /// Open connections without a request under way: idle ones, and those whose next request is
    /// being read.
    pub fn waiting(&self) -> u64 {
        self.active.saturating_sub(self.writing)
    }

    /// nginx's text, with the connections that were ever accepted and the requests of all of them.
    fn text(&self, accepted: u64, requests: u64) -> String {
        let Self { active, writing } = self;
        let waiting = self.waiting();
        format!(
            "Active connections: {active} \nserver accepts handled requests\n \
             {accepted} {accepted} {requests} \nReading: 0 Writing: {writing} Waiting: {waiting} \n"
        )
    }
}

/// The text of `stub_status`.
pub fn text() -> String {
    let connections = Connections::now();
    let accepted = count(catalog().connections_accepted.get());
    connections.text(accepted, catalog().requests.count() + connections.writing)
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_nginx_s() {
        let connections = Connections { active: 3, writing: 1 };
        assert_eq!(
            connections.text(10, 25),
            "Active connections: 3 \nserver accepts handled requests\n 10 10 25 \n\
             Reading: 0 Writing: 1 Waiting: 2 \n"
        );
        assert_eq!(Connections { writing: 5, ..connections }.waiting(), 0, "many of one");
    }
}
