//! `limit_req` and `limit_conn`: what the zones count, shared by all workers and kept over reloads.
//!
//! The arithmetic is nginx's (`ngx_http_limit_req_module`, `ngx_http_limit_conn_module`): whole
//! milliseconds, thousandths of a request, and as many keys in a zone of so many bytes. Keys, rates
//! and statuses are the configuration's (`snapshot::limits`); time comes from the caller.

mod connections;
mod rate;

pub use connections::{Connections, Held, Refusal};
pub use rate::{Rates, Rule, Verdict, weigh};

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The key of a zone had been another one, nginx's words behind the kind of zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{zone}\" uses the \"{now}\" key while previously it used the \"{before}\" key")]
pub struct OtherKey {
    zone: String,
    now: String,
    before: String,
}

/// A zone and the key that it counts by, as it is written.
#[derive(Debug)]
struct Kept<T> {
    key: String,
    zone: Weak<T>,
}

/// Zones of one kind by name and size: one of another size is another one.
type Zones<T> = Mutex<HashMap<(String, usize), Kept<T>>>;

/// The zones of the process.
#[derive(Debug, Default)]
pub struct Registry {
    rates: Zones<Rates>,
    connections: Zones<Connections>,
}

impl Registry {
    /// The zone of a `limit_req_zone`, with what it has counted so far.
    ///
    /// # Errors
    /// A configuration that still serves counts something else there.
    pub fn rates(&self, name: &str, key: &str, bytes: usize) -> Result<Arc<Rates>, OtherKey> {
        find(&self.rates, name, key, bytes, || Rates::new(name, bytes))
    }

    /// The same of a `limit_conn_zone`.
    ///
    /// # Errors
    /// As [`Registry::rates`].
    pub fn connections(
        &self,
        name: &str,
        key: &str,
        bytes: usize,
    ) -> Result<Arc<Connections>, OtherKey> {
        find(&self.connections, name, key, bytes, || Connections::new(name, bytes))
    }
}

fn find<T>(
    zones: &Zones<T>,
    name: &str,
    key: &str,
    bytes: usize,
    make: impl FnOnce() -> T,
) -> Result<Arc<T>, OtherKey> {
    let mut zones = zones.lock();
    zones.retain(|_, kept| kept.zone.strong_count() > 0);
    let place = (name.to_owned(), bytes);
    if let Some(kept) = zones.get(&place)
        && let Some(zone) = kept.zone.upgrade()
    {
        let (now, before) = (key.to_owned(), kept.key.clone());
        return if now == before {
            Ok(zone)
        } else {
            Err(OtherKey { zone: name.to_owned(), now, before })
        };
    }
    let zone = Arc::new(make());
    zones.insert(place, Kept { key: key.to_owned(), zone: Arc::downgrade(&zone) });
    Ok(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_outlives_the_configuration_that_made_it_unless_its_size_changes() {
        let registry = Registry::default();
        let first = registry.rates("one", "$uri", 65_536).unwrap();
        assert!(Arc::ptr_eq(&first, &registry.rates("one", "$uri", 65_536).unwrap()));
        assert!(!Arc::ptr_eq(&first, &registry.rates("one", "$uri", 131_072).unwrap()));
        assert!(!Arc::ptr_eq(&first, &registry.rates("two", "$uri", 65_536).unwrap()));
        let error = registry.rates("one", "$host", 65_536).unwrap_err().to_string();
        let words = "\"one\" uses the \"$host\" key while previously it used the \"$uri\" key";
        assert_eq!(error, words);
        drop(first);
        registry.rates("one", "$host", 65_536).unwrap();
    }
}
