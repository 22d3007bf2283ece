//! `geo`: values by addresses, found by bisection.

use super::names::Var;
use crate::config::model::Geo as Model;
use crate::config::model::access::network;
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A compiled `geo` block.
#[derive(Debug)]
pub struct Geo {
    /// The variable that holds the address; else it is the client's.
    pub source: Option<Var>,
    proxies: Vec<(IpAddr, u8)>,
    recursive: bool,
    v4: Steps<u32>,
    v6: Steps<u128>,
}

/// Values that hold from an address up to the next one that is named.
#[derive(Debug)]
struct Steps<T>(Vec<(T, Bytes)>);

/// What has no IPv4 address (a unix socket, a variable that holds none) is looked up as this one.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

impl<T: Ord + Copy> Steps<T> {
    fn find(&self, address: T) -> Bytes {
        let behind = self.0.partition_point(|it| it.0 <= address);
        behind.checked_sub(1).map(|it| self.0[it].1.clone()).unwrap_or_default()
    }

    /// Of blocks `(first, last, value)`, of which each holds, or lies within, or is apart from any
    /// other, outer ones first; `next` gives the address behind one.
    fn of(zero: T, default: Bytes, blocks: Vec<(T, T, Bytes)>, next: fn(T) -> Option<T>) -> Self {
        let mut steps: Vec<(T, Bytes)> = vec![(zero, default.clone())];
        // The blocks that hold the address where we are, the outermost first.
        let mut open: Vec<(T, Bytes)> = Vec::new();
        let close = |steps: &mut Vec<(T, Bytes)>, open: &mut Vec<(T, Bytes)>| {
            let Some((last, _)) = open.pop() else { return };
            let value = open.last().map_or(&default, |it| &it.1).clone();
            if let Some(next) = next(last) {
                put(steps, next, value);
            }
        };
        for (first, last, value) in blocks {
            while open.last().is_some_and(|it| it.0 < first) {
                close(&mut steps, &mut open);
            }
            put(&mut steps, first, value.clone());
            open.push((last, value));
        }
        while !open.is_empty() {
            close(&mut steps, &mut open);
        }
        steps.dedup_by(|later, earlier| later.1 == earlier.1);
        Self(steps)
    }
}

/// From `first` on it is `value`, whatever was said of that very address before.
fn put<T: Ord>(steps: &mut Vec<(T, Bytes)>, first: T, value: Bytes) {
    match steps.last_mut().filter(|it| it.0 == first) {
        Some(last) => last.1 = value,
        None => steps.push((first, value)),
    }
}

impl Geo {
    /// Compiles `model`; `source` is its variable.
    pub fn new(model: &Model, source: Option<Var>) -> Self {
        let default = Bytes::copy_from_slice(model.default.as_bytes());
        let text = |it: &str| Bytes::copy_from_slice(it.as_bytes());
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for it in &model.networks {
            let bits = u32::from(it.bits);
            match network(it.address, it.bits) {
                IpAddr::V4(first) => {
                    let last = first.to_bits() | u32::MAX.checked_shr(bits).unwrap_or(0);
                    v4.push((first.to_bits(), last, text(&it.value)));
                }
                IpAddr::V6(first) => {
                    let last = first.to_bits() | u128::MAX.checked_shr(bits).unwrap_or(0);
                    v6.push((first.to_bits(), last, text(&it.value)));
                }
            }
        }
        for it in model.ranges.iter().flatten() {
            v4.push((it.first.to_bits(), it.last.to_bits(), text(&it.value)));
        }
        // Of those that begin together the larger one is the outer one.
        v4.sort_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        v6.sort_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        Self {
            source,
            proxies: model.proxies.iter().map(|it| (it.address, it.bits)).collect(),
            recursive: model.proxy_recursive,
            // With ranges, an IPv6 address is none.
            v6: match model.ranges {
                None => Steps::of(0, default.clone(), v6, |it: u128| it.checked_add(1)),
                Some(_) => Steps(Vec::new()),
            },
            v4: Steps::of(0, default, v4, |it: u32| it.checked_add(1)),
        }
    }

    /// The value for `address`; `None` is one that is not known.
    pub fn find(&self, address: Option<IpAddr>) -> Bytes {
        match address.unwrap_or(NO_ADDRESS).to_canonical() {
            IpAddr::V4(it) => self.v4.find(it.to_bits()),
            IpAddr::V6(_) if self.v6.0.is_empty() => self.v4.find(u32::MAX),
            IpAddr::V6(it) => self.v6.find(Ipv6Addr::to_bits(it)),
        }
    }

    /// Whether `X-Forwarded-For` may count at all.
    pub fn has_proxies(&self) -> bool {
        !self.proxies.is_empty()
    }

    /// Whom `address`, if it is a proxy, speaks for by `forwarded`, the values of
    /// `X-Forwarded-For` in order (`ngx_http_get_forwarded_addr`).
    pub fn behind(&self, address: IpAddr, forwarded: &[Bytes]) -> IpAddr {
        let mut address = address;
        for value in forwarded.iter().rev() {
            let mut rest: &[u8] = value;
            while self.is_proxy(address) {
                let is_filler = |it: &u8| matches!(it, b' ' | b',');
                let Some(end) = rest.iter().rposition(|it| !is_filler(it)) else { return address };
                let start = rest[..end].iter().rposition(is_filler).map_or(0, |it| it + 1);
                let Some(found) = parse(&rest[start..=end]) else { return address };
                address = found;
                if !self.recursive {
                    return address;
                }
                if start == 0 {
                    break;
                }
                rest = &rest[..start - 1];
            }
            if !self.is_proxy(address) {
                return address;
            }
        }
        address
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies
            .iter()
            .any(|(it, bits)| it.is_ipv4() == address.is_ipv4() && network(address, *bits) == *it)
    }
}

/// An address with or without a port.
fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text.parse().ok();
    address.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|it| it.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{GeoNetwork, GeoProxy, GeoRange};

    fn empty() -> Model {
        Model {
            at: crate::config::diagnostic::At::default(),
            source: None,
            variable: "x".into(),
            default: "none".into(),
            networks: Vec::new(),
            ranges: None,
            proxies: Vec::new(),
            proxy_recursive: false,
        }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_longest_network_counts() {
        let of = |text: &str| {
            let (address, bits) = text.split_once('/').unwrap();
            let (address, bits) = (address.parse().unwrap(), bits.parse().unwrap());
            GeoNetwork { address, bits, value: text.to_owned() }
        };
        let all = [
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.1.0.0/16",
            "10.1.1.1/32",
            "255.255.255.255/32",
            "0.0.0.0/1",
            "2001:db8::/32",
            "2001:db8::/128",
            "ffff::/16",
        ];
        let geo = Geo::new(&Model { networks: all.map(of).to_vec(), ..empty() }, None);
        // What a search through all of them finds.
        let slow = |address: IpAddr| {
            let holds = |it: &&GeoNetwork| {
                it.address.is_ipv4() == address.is_ipv4() && network(address, it.bits) == it.address
            };
            let all = all.map(of);
            let found = all.iter().filter(holds).max_by_key(|it| it.bits);
            found.map_or("none".to_owned(), |it| it.value.clone())
        };
        for text in [
            "9.255.255.255",
            "10.0.0.0",
            "10.0.255.255",
            "10.1.0.0",
            "10.1.1.0",
            "10.1.1.1",
            "10.1.1.2",
            "10.2.0.0",
            "10.127.255.255",
            "10.128.0.0",
            "10.255.255.255",
            "11.0.0.0",
            "127.255.255.255",
            "128.0.0.0",
            "255.255.255.254",
            "255.255.255.255",
            "0.0.0.0",
            "2001:db7:ffff::",
            "2001:db8::",
            "2001:db8::1",
            "2001:db9::",
            "::",
            "fffe::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert_eq!(geo.find(ip(text)), slow(text.parse().unwrap()), "{text}");
        }
        assert_eq!(geo.find(ip("::ffff:10.1.1.1")), "10.1.1.1/32");
        assert_eq!(geo.find(None), "255.255.255.255/32");
    }

    #[test]
    fn ranges_end_where_they_end() {
        let of = |first: &str, last: &str| GeoRange {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            value: first.to_owned(),
        };
        let ranges = vec![of("10.0.0.1", "10.0.0.5"), of("10.0.0.6", "10.0.0.6")];
        let geo = Geo::new(&Model { ranges: Some(ranges), ..empty() }, None);
        let found = |it: &str| geo.find(ip(it));
        assert_eq!([found("10.0.0.0"), found("10.0.0.7"), found("::1")], ["none"; 3]);
        assert_eq!([found("10.0.0.1"), found("10.0.0.5")], ["10.0.0.1"; 2]);
        assert_eq!(found("10.0.0.6"), "10.0.0.6");
    }

    #[test]
    fn proxies_are_believed() {
        let proxies = vec![
            GeoProxy { address: "10.0.0.0".parse().unwrap(), bits: 8 },
            GeoProxy { address: "::1".parse().unwrap(), bits: 128 },
        ];
        let once = Geo::new(&Model { proxies: proxies.clone(), ..empty() }, None);
        let model = Model { proxies, proxy_recursive: true, ..empty() };
        let all = Geo::new(&model, None);
        let behind = |geo: &Geo, address: &str, values: &[&'static str]| {
            let values: Vec<Bytes> =
                values.iter().map(|it| Bytes::from_static(it.as_bytes())).collect();
            geo.behind(address.parse().unwrap(), &values).to_string()
        };
        assert_eq!(behind(&once, "10.0.0.1", &["1.2.3.4, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(behind(&all, "10.0.0.1", &["1.2.3.4, 10.0.0.2 , "]), "1.2.3.4");
        assert_eq!(behind(&all, "10.0.0.1", &["6.6.6.6, 1.2.3.4:80,10.0.0.2"]), "1.2.3.4");
        assert_eq!(behind(&all, "::1", &["1.2.3.4", "10.9.9.9, [::1]:5"]), "1.2.3.4");
        assert_eq!(behind(&all, "9.0.0.1", &["1.2.3.4"]), "9.0.0.1");
        assert_eq!(behind(&all, "10.0.0.1", &["1.2.3.4, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(behind(&all, "10.0.0.1", &[" , "]), "10.0.0.1");
        assert_eq!(behind(&all, "10.0.0.1", &[]), "10.0.0.1");
    }
}
