//! Values as nginx writes them: times, sizes, numbers, switches, and texts with variables.

use std::net::{IpAddr, SocketAddr};

/// Units of time with their milliseconds, from the largest to the smallest.
const UNITS: [(&str, u64); 8] = [
    ("y", 365 * 86_400_000),
    ("M", 30 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// `30`, `500ms`, `1h30m`, `1d 12h`: milliseconds. A bare number is seconds; units go from the
/// larger to the smaller, each once: `w d h m s ms` (`ngx_parse_time`, which has no `y` and `M`
/// where it counts milliseconds).
pub fn millis(text: &str) -> Option<u64> {
    time(text, &UNITS[2..])
}

/// The same in whole seconds, given in milliseconds: `y M w d h m s`, for the few times that nginx
/// counts so (`fail_timeout=`, `valid=`).
pub fn seconds(text: &str) -> Option<u64> {
    time(text, &UNITS[..7])
}

fn time(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut total: u64 = 0;
    let mut next = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let value: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let unit = &rest[..letters];
        rest = rest[letters..].trim_start_matches(' ');
        let (at, scale) = if unit.is_empty() {
            (units.len() - 1, 1000)
        } else {
            let at = units.iter().position(|(name, _)| *name == unit)?;
            (at, units[at].1)
        };
        if at < next {
            return None;
        }
        next = at + 1;
        total = total.checked_add(value.checked_mul(scale)?)?;
    }
    (total <= i64::MAX as u64).then_some(total)
}

/// `8192`, `8k`, `1m`, `1g` (either case): bytes (`ngx_parse_offset`).
pub fn bytes(text: &str) -> Option<u64> {
    let (digits, scale) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let total = number(digits)?.checked_mul(scale)?;
    (total <= i64::MAX as u64).then_some(total)
}

/// `10.0.0.1`, `10.0.0.1:81`, `::1` or `[::1]:81` (`ngx_parse_addr_port`): without a port it is 0,
/// any.
pub fn local_address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, 0)),
        Err(_) => text.parse().ok(),
    }
}

/// Decimal digits only (`ngx_atoi`): no sign, no space.
pub fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<u64>().ok().filter(|it| *it <= i64::MAX as u64)
}

/// `on` or `off`, in either case as nginx takes them.
pub fn switch(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("on") {
        Some(true)
    } else if text.eq_ignore_ascii_case("off") {
        Some(false)
    } else {
        None
    }
}

/// `12.34%` in basis points, two digits behind the point at most, above zero.
pub fn percent(text: &str) -> Option<u32> {
    let text = text.strip_suffix('%')?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = match part.len() {
        0 => 0,
        1 => number(part)? * 10,
        2 => number(part)?,
        _ => return None,
    };
    let whole = if whole.is_empty() && text.len() > 1 { 0 } else { number(whole)? };
    let points = whole.checked_mul(100)?.checked_add(part)?;
    u32::try_from(points).ok().filter(|it| (1..=10_000).contains(it))
}

/// A share in basis points: `0%` to `100%` with two digits behind the point, or `0bp` to `10000bp`.
pub fn share(text: &str) -> Option<u16> {
    let points = match text.strip_suffix("bp") {
        Some(digits) => number(digits)?,
        None if ["0%", "0.0%", "0.00%", "0"].contains(&text) => 0,
        None => u64::from(percent(text)?),
    };
    u16::try_from(points).ok().filter(|it| *it <= 10_000)
}

/// Whether the variables in `text` are well formed; else nginx's message
/// (`ngx_http_script_compile`). Whether they exist is known later.
pub fn check_variables(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        rest = &rest[dollar + 1..];
        let braced = rest.starts_with('{');
        if braced {
            rest = &rest[1..];
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() {
            return Err("invalid variable name".to_owned());
        }
        if braced && !rest[end..].starts_with('}') {
            return Err(format!("the closing bracket in \"{name}\" variable is missing"));
        }
        rest = &rest[end..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_nginx_reads_them() {
        for (text, expected) in [
            ("30", Some(30_000)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1m 30s", Some(90_000)),
            ("1d12h", Some(129_600_000)),
            ("68000ms", Some(68_000)),
            ("1m30", Some(90_000)),
            ("", None),
            ("x", None),
            ("1.5s", None),
            ("30s1m", None),
            ("1m1m", None),
            ("1y", None),
            ("1M", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }

    #[test]
    fn whole_seconds_have_years_and_no_milliseconds() {
        assert_eq!(seconds("1y2M"), Some(425 * 86_400_000));
        assert_eq!(seconds("10"), Some(10_000));
        assert_eq!(seconds("1ms"), None);
    }

    #[test]
    fn sizes_numbers_and_switches() {
        assert_eq!(bytes("8k"), Some(8192));
        assert_eq!(bytes("1M"), Some(1 << 20));
        assert_eq!(bytes("2g"), Some(2 << 30));
        assert_eq!(bytes("k"), None);
        assert_eq!(bytes("5w"), None);
        assert_eq!(number("-1"), None);
        assert_eq!(number("+1"), None);
        assert_eq!(switch("On"), Some(true));
        assert_eq!(switch("maybe"), None);
    }

    #[test]
    fn shares_are_basis_points() {
        assert_eq!(percent("0.5%"), Some(50));
        assert_eq!(percent("12.34%"), Some(1234));
        assert_eq!(percent("5.%"), Some(500));
        assert_eq!(percent(".5%"), Some(50));
        assert_eq!(percent("100%"), Some(10_000));
        for text in ["50", "0.001%", "0%", "100.01%", ".%", "%", "-1%"] {
            assert_eq!(percent(text), None, "{text}");
        }
    }

    #[test]
    fn variables_are_well_formed() {
        assert!(check_variables("$host:${server_port}$1 plain").is_ok());
        assert_eq!(check_variables("cost: 5$").unwrap_err(), "invalid variable name");
        assert_eq!(
            check_variables("${x").unwrap_err(),
            "the closing bracket in \"x\" variable is missing"
        );
    }
}
