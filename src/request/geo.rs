//! `geo`: where the client of a request is.

use super::Request;
use crate::vars::geo::Geo;
use bytes::Bytes;
use std::net::IpAddr;

impl Request {
    /// The value of the `geo` with this number, remembered in `slot`.
    pub(super) fn geo(&self, number: u16, slot: u16) -> Option<Bytes> {
        let geo = self.snapshot.geos.get(usize::from(number))?;
        if let Some(value) = self.slot(slot) {
            return Some(value);
        }
        let value = geo.find(self.address_for(geo));
        self.set_slot(slot, Some(value.clone()));
        Some(value)
    }

    /// The address that is looked up; `None` where it is none.
    fn address_for(&self, geo: &Geo) -> Option<IpAddr> {
        let address = match &geo.source {
            None => self.client_ip(),
            Some(variable) => {
                let _level = self.deeper("geo")?;
                std::str::from_utf8(&self.value(variable)?).ok()?.parse().ok()
            }
        };
        if !geo.has_proxies() {
            return address;
        }
        let headers = self.headers.borrow();
        let forwarded: Vec<Bytes> = headers.all(b"x-forwarded-for").cloned().collect();
        address.map(|it| geo.behind(it, &forwarded))
    }
}
