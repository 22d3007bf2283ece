//! Numbers as text, appended without the machinery of `format!`: the hot path writes a dozen a
//! request.

/// 00 to 99.
const TWO_DIGITS: [[u8; 2]; 100] = {
    let mut all = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        all[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    all
};

/// A number in decimal, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    /// `number` in decimal.
    pub fn new(number: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len();
        let mut rest = number;
        while rest >= 10 {
            start -= 2;
            let two = (rest % 100) as usize;
            digits[start..start + 2].copy_from_slice(&TWO_DIGITS[two]);
            rest /= 100;
        }
        if rest > 0 || start == digits.len() {
            start -= 1;
            digits[start] = digit(rest);
        }
        Self { digits, start }
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// Appends `number` in decimal.
pub fn decimal_into(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(Decimal::new(number).as_bytes());
}

/// Appends `number`, below 1000, in three digits: a status, milliseconds.
pub fn three_digits_into(out: &mut Vec<u8>, number: u16) {
    let number = u64::from(number);
    out.extend_from_slice(&[digit(number / 100 % 10), digit(number / 10 % 10), digit(number % 10)]);
}

/// Appends milliseconds as seconds with three decimals: `0.004`, as nginx's times are shown.
pub fn seconds_into(out: &mut Vec<u8>, ms: u64) {
    decimal_into(out, ms / 1000);
    out.push(b'.');
    three_digits_into(out, u16::try_from(ms % 1000).unwrap_or(0));
}

#[expect(clippy::cast_possible_truncation, reason = "a digit is below 10")]
fn digit(value: u64) -> u8 {
    b'0' + value as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"=".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_format_writes_them(number: u64, status in 0..1000u16) {
            prop_assert_eq!(written(|out| decimal_into(out, number)), format!("={number}"));
            prop_assert_eq!(written(|out| three_digits_into(out, status)), format!("={status:03}"));
            let (s, ms) = (number / 1000, number % 1000);
            prop_assert_eq!(written(|out| seconds_into(out, number)), format!("={s}.{ms:03}"));
        }
    }

    #[test]
    fn the_ends_of_the_range_are_whole() {
        assert_eq!(written(|out| decimal_into(out, 0)), "=0");
        assert_eq!(written(|out| decimal_into(out, u64::MAX)), "=18446744073709551615");
    }
}
