//! Dates: those of HTTP, and the ones that nginx's logs, variables and `ngx.*time` show. Pure
//! functions of seconds since 1970 and, where local time is meant, of the offset from UTC.

/// A moment of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: i64,
    /// 0 is January.
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// 0 is Sunday.
    weekday: usize,
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_S: i64 = 86_400;
/// 9999-12-31T23:59:59Z, the last moment that nginx shows.
const LAST: i64 = 253_402_300_799;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
/// Days in 400 years.
const ERA_DAYS: i64 = 146_097;

impl Civil {
    /// `unix` is cut to the years 1970 to 9999, as nginx does.
    fn new(unix: i64) -> Self {
        let unix = unix.clamp(0, LAST);
        let (days, second) = (unix / DAY_S, unix % DAY_S);
        // Years begin on the 1st of March here, so that the leap day is a year's last.
        let shifted = days + EPOCH_DAYS;
        let (era, day_of_era) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = (from_march + 2) % 12;
        Self {
            year: era * 400 + year_of_era + i64::from(month < 2),
            month: usize::try_from(month).unwrap_or_default(),
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            weekday: usize::try_from((days + 4) % 7).unwrap_or_default(),
        }
    }

    /// `08:49:37` into eight bytes.
    fn put_clock(&self, room: &mut [u8]) {
        two(room, self.hour);
        two(&mut room[3..], self.minute);
        two(&mut room[6..], self.second);
    }

    fn clock(&self) -> String {
        format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }

    fn date(&self, separator: char) -> String {
        format!("{}{separator}{:02}{separator}{:02}", self.year, self.month + 1, self.day)
    }

    fn weekday(&self) -> &'static str {
        WEEKDAYS[self.weekday]
    }

    fn month(&self) -> &'static str {
        MONTHS[self.month]
    }
}

/// Seconds since 1970 of a date; the parts are not checked.
fn unix(year: i64, month: i64, day: i64, second: i64) -> i64 {
    // As in `Civil::new`, years begin in March.
    let year = if month < 2 { year - 1 } else { year };
    let from_march = (month + 10) % 12;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    (days + (153 * from_march + 2) / 5 + day - 1 - EPOCH_DAYS) * DAY_S + second
}

/// The last two digits of `number` into two bytes.
fn two(room: &mut [u8], number: i64) {
    room[0] = b'0' + (number / 10 % 10) as u8;
    room[1] = b'0' + (number % 10) as u8;
}

/// A year into four bytes.
fn four(room: &mut [u8], year: i64) {
    two(room, year / 100);
    two(&mut room[2..], year);
}

fn owned(ascii: &[u8]) -> String {
    ascii.iter().map(|it| char::from(*it)).collect()
}

/// RFC 9110's date, `Sun, 06 Nov 1994 08:49:37 GMT`: `Date`, `Last-Modified`, `ngx.http_time`.
pub fn http(unix: i64) -> String {
    owned(&http_bytes(unix))
}

/// The same where it is not to be allocated.
pub fn http_bytes(unix: i64) -> [u8; 29] {
    let at = Civil::new(unix);
    let mut text = *b"Sun, 06 Nov 1994 08:49:37 GMT";
    text[..3].copy_from_slice(at.weekday().as_bytes());
    two(&mut text[5..], at.day);
    text[8..11].copy_from_slice(at.month().as_bytes());
    four(&mut text[12..], at.year);
    at.put_clock(&mut text[17..]);
    text
}

/// A cookie's `expires`, `ngx.cookie_time`: `Sun, 06-Nov-94 08:49:37 GMT`, with all digits of the
/// year from 2038 on.
pub fn cookie(unix: i64) -> String {
    let at = Civil::new(unix);
    let (weekday, month, clock) = (at.weekday(), at.month(), at.clock());
    if at.year > 2037 {
        format!("{weekday}, {:02}-{month}-{} {clock} GMT", at.day, at.year)
    } else {
        format!("{weekday}, {:02}-{month}-{:02} {clock} GMT", at.day, at.year % 100)
    }
}

/// `$time_local`, `06/Nov/1994:08:49:37 +0100`; `offset_s` is seconds east of UTC.
pub fn local(unix: i64, offset_s: i32) -> String {
    let at = Civil::new(shifted(unix, offset_s));
    let (sign, hours, minutes) = offset(offset_s);
    let (month, clock) = (at.month(), at.clock());
    format!("{:02}/{month}/{}:{clock} {sign}{hours:02}{minutes:02}", at.day, at.year)
}

/// What a line of the error log begins with, `1994/11/06 08:49:37` in local time.
pub fn error_log(unix: i64, offset_s: i32) -> String {
    let at = Civil::new(shifted(unix, offset_s));
    format!("{} {}", at.date('/'), at.clock())
}

/// The time of a syslog message (RFC 3164), `Nov  6 08:49:37` in local time.
pub fn syslog(unix: i64, offset_s: i32) -> String {
    let at = Civil::new(shifted(unix, offset_s));
    format!("{} {:2} {}", at.month(), at.day, at.clock())
}

/// `ngx.localtime()` with the local offset, `ngx.utctime()` with 0: `1994-11-06 08:49:37`.
pub fn plain(unix: i64, offset_s: i32) -> String {
    owned(&plain_bytes(unix, offset_s))
}

/// The same where it is not to be allocated.
pub fn plain_bytes(unix: i64, offset_s: i32) -> [u8; 19] {
    let at = Civil::new(shifted(unix, offset_s));
    let mut text = *b"1994-11-06 08:49:37";
    four(&mut text, at.year);
    two(&mut text[5..], at.month as i64 + 1);
    two(&mut text[8..], at.day);
    at.put_clock(&mut text[11..]);
    text
}

/// `ngx.today()`: `1994-11-06` in local time.
pub fn today(unix: i64, offset_s: i32) -> String {
    Civil::new(shifted(unix, offset_s)).date('-')
}

fn shifted(unix: i64, offset_s: i32) -> i64 {
    unix.saturating_add(i64::from(offset_s))
}

fn offset(offset_s: i32) -> (char, u32, u32) {
    let sign = if offset_s < 0 { '-' } else { '+' };
    let minutes = offset_s.unsigned_abs() / 60;
    (sign, minutes / 60, minutes % 60)
}

/// Parses a date in any of HTTP's three forms (RFC 9110, 5.6.7) as leniently as nginx does: of the
/// weekday only its end matters, of the month its first letters, and what follows the time is not
/// looked at. Seconds since 1970, negative before; `None` when it is no date.
pub fn parse(text: &[u8]) -> Option<i64> {
    let end = text.iter().position(|it| matches!(it, b',' | b' '))?;
    let is_asctime = text[end] == b' ';
    let start = text[end + 1..].iter().position(|&it| it != b' ')? + end + 1;
    let mut cursor = Cursor(&text[start..]);
    if cursor.0.len() < 18 {
        return None;
    }
    let (year, month, day, second);
    if is_asctime {
        month = cursor.month()?;
        cursor.expect_any();
        cursor.skip(b' ');
        day = cursor.day_of_asctime()?;
        cursor.expect(b' ')?;
        second = cursor.clock()?;
        cursor.expect(b' ')?;
        year = cursor.number(4)?;
    } else {
        day = cursor.number(2)?;
        let separator = *cursor.0.first()?;
        if !matches!(separator, b' ' | b'-') {
            return None;
        }
        cursor.expect(separator)?;
        month = cursor.month()?;
        cursor.expect(separator)?;
        year = if separator == b' ' {
            cursor.number(4)?
        } else {
            let short = cursor.number(2)?;
            short + if short < 70 { 2000 } else { 1900 }
        };
        cursor.expect(b' ')?;
        second = cursor.clock()?;
    }
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if day > days_in(month, is_leap) {
        return None;
    }
    // nginx cannot tell -1 from its error.
    Some(unix(year, month, day, second)).filter(|&it| it != -1)
}

fn days_in(month: i64, is_leap: bool) -> i64 {
    match month {
        1 => 28 + i64::from(is_leap),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// What is left of a date's text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn expect_any(&mut self) {
        self.0 = self.0.get(1..).unwrap_or_default();
    }

    fn skip(&mut self, byte: u8) {
        self.0 = self.0.strip_prefix(&[byte]).unwrap_or(self.0);
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (text, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        text.iter().try_fold(0, |number, &it| {
            it.is_ascii_digit().then(|| number * 10 + i64::from(it - b'0'))
        })
    }

    fn day_of_asctime(&mut self) -> Option<i64> {
        let digits = if self.0.get(1) == Some(&b' ') { 1 } else { 2 };
        self.number(digits)
    }

    /// A month's first three letters, told apart as nginx does; 0 is January.
    fn month(&mut self) -> Option<i64> {
        let (name, rest) = self.0.split_at_checked(3)?;
        self.0 = rest;
        Some(match (name[0], name[1], name[2]) {
            (b'J', b'a', _) => 0,
            (b'J', _, b'n') => 5,
            (b'J', _, _) => 6,
            (b'F', _, _) => 1,
            (b'M', _, b'r') => 2,
            (b'M', _, _) => 4,
            (b'A', b'p', _) => 3,
            (b'A', _, _) => 7,
            (b'S', _, _) => 8,
            (b'O', _, _) => 9,
            (b'N', _, _) => 10,
            (b'D', _, _) => 11,
            _ => return None,
        })
    }

    /// `HH:MM:SS` as seconds; leap seconds are refused.
    fn clock(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.expect(b':')?;
        let minute = self.number(2)?;
        self.expect(b':')?;
        let second = self.number(2)?;
        (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
    }
}

#[cfg(test)]
mod tests;
