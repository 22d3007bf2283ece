//! Certificates one behind the other, as PEM and as DER.

use openssl::x509::X509;

/// A chain of certificates, the server's own first.
pub type Chain = Vec<X509>;

/// The certificates of `pem`, the first with what OpenSSL calls trust; `None` when there is none.
pub fn chain_of_pem(pem: &[u8]) -> Option<Chain> {
    X509::stack_from_pem(pem).ok().filter(|it| !it.is_empty())
}

/// DER of the certificates, one behind the other.
pub fn der_of_chain(chain: &[X509]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for certificate in chain {
        all.extend_from_slice(&certificate.to_der().ok()?);
    }
    Some(all)
}

/// The certificates of `der`, one behind the other; `None` where that is not what it is.
pub fn chain_of_der(mut der: &[u8]) -> Option<Chain> {
    let mut chain = Vec::new();
    while !der.is_empty() {
        let length = der_length(der)?;
        let (one, rest) = der.split_at_checked(length)?;
        chain.push(X509::from_der(one).ok()?);
        der = rest;
    }
    (!chain.is_empty()).then_some(chain)
}

/// Bytes of the first DER value, its header included.
pub(in crate::lua::ngx) fn der_length(der: &[u8]) -> Option<usize> {
    let first = usize::from(*der.get(1)?);
    if first < 0x80 {
        return Some(2 + first);
    }
    let count = first & 0x7f;
    let digits = der.get(2..2 + count).filter(|it| (1..=4).contains(&it.len()))?;
    let length = digits.iter().fold(0usize, |all, it| all << 8 | usize::from(*it));
    length.checked_add(2 + count)
}
