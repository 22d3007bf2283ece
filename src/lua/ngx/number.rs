//! Numbers as LuaJIT writes them.

use std::io::Write;

/// `%.14g`: what `tostring` gives.
pub fn text(number: f64) -> String {
    with_digits(number, 14)
}

/// `%.{digits}g` of C.
pub fn with_digits(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    if number == number.trunc() && number.abs() < 1e14 && digits >= 14 {
        let mut text = Vec::new();
        // A negative zero keeps its sign.
        let sign = if number == 0.0 && number.is_sign_negative() { "-" } else { "" };
        let _ = write!(text, "{sign}{}", number as i64);
        return String::from_utf8(text).unwrap_or_default();
    }
    general(number, digits.max(1))
}

fn general(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{number:.decimals$}")).to_owned()
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lua::fixture::eval;

    #[test]
    fn numbers_are_written_as_lua_writes_them() {
        let numbers = [
            0.0,
            -0.0,
            1.0,
            -17.0,
            0.1,
            1.5,
            1e14,
            1e15,
            123456789012345.0,
            1e100,
            1e-4,
            1e-5,
            1.0 / 3.0,
            -2.0 / 3.0,
            99999999999999.0,
            1e21,
            5e-324,
            0.30000000000000004,
        ];
        for number in numbers {
            assert_eq!(text(number), eval(&format!("return {number:e}")), "{number:e}");
            for digits in [1, 3, 14, 16] {
                let expected = eval(&format!("return ('%.{digits}g'):format({number:e})"));
                assert_eq!(with_digits(number, digits), expected, "{number:e} {digits}");
            }
        }
    }
}
