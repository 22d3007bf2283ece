//! Time: the only file that names std's clocks.
//!
//! Three notions: [`monotonic`] for durations and deadlines, [`unix_ms`] for the real time now, and
//! the *cached* time of a thread as nginx has it: an event loop calls [`update`] once a turn, and
//! what it does in that turn ([`monotonic`], [`cached_ms`], [`http_date`], a log line) sees one
//! time. A thread that has never called [`update`] has no turns and reads the clocks whenever it
//! asks.

use crate::sys;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment: microseconds since the process first asked for the time. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// The moment `us` microseconds after the process started.
    #[cfg(test)]
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// Microseconds since the process started.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Milliseconds since the process started.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1000
    }

    /// Microseconds from `earlier` to here; 0 when `earlier` is later.
    pub const fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole milliseconds from `earlier` to here; 0 when `earlier` is later.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.us_since(earlier) / 1000
    }

    /// The moment `ms` milliseconds after this one.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1000)))
    }
}

impl Sub for Tick {
    type Output = Duration;

    /// The time from `earlier` to here; zero when `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.us_since(earlier))
    }
}

impl Add<Duration> for Tick {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The moment now: that of this thread's turn, if it has turns (as nginx's `ngx_current_msec`).
pub fn monotonic() -> Tick {
    #[cfg(test)]
    if let Some(frozen) = testing::frozen() {
        return frozen.tick;
    }
    TURN.get().map_or_else(precise, |turn| turn.tick)
}

/// The moment now, read from the clock even in the middle of a turn: for measuring what a turn
/// itself does.
pub fn precise() -> Tick {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    Tick(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

/// The real time now in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    #[cfg(test)]
    if let Some(frozen) = testing::frozen() {
        return frozen.unix_ms;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Reads both clocks for this thread's turn: [`monotonic`], [`cached_ms`] and the texts are
/// answered from it until the next call.
pub fn update() {
    TURN.set(Some(Turn { tick: precise(), unix_ms: unix_ms() }));
}

/// This thread's time in milliseconds since 1970 (`ngx.now()` times 1000): as of the last
/// [`update`], or the real one on a thread without an event loop.
pub fn cached_ms() -> u64 {
    TURN.get().map_or_else(unix_ms, |turn| turn.unix_ms)
}

/// This thread's time in whole seconds since 1970 (`ngx.time()`).
pub fn cached_s() -> u64 {
    cached_ms() / 1000
}

/// `Mon, 23 Nov 2026 12:00:00 GMT`: always 29 bytes (RFC 9110, 5.6.7).
pub fn http_date() -> Bytes {
    text(Text::HttpDate)
}

/// `23/Nov/2026:12:00:00 +0000`: nginx's `$time_local`.
pub fn time_local() -> Bytes {
    text(Text::TimeLocal)
}

/// `2026-11-23T12:00:00+00:00`: nginx's `$time_iso8601`.
pub fn time_iso8601() -> Bytes {
    text(Text::Iso8601)
}

/// `2026/11/23 12:00:00`, local: how a line of an error log begins.
pub fn log_time() -> Bytes {
    text(Text::LogTime)
}

/// `Nov 23 12:00:00`, local, the day padded with a blank: how a syslog line says it (RFC 3164).
pub fn syslog_time() -> Bytes {
    text(Text::SyslogTime)
}

/// `Mon, 23 Nov 2026 12:00:00 GMT` for any time, in seconds since 1970.
pub fn http_date_of(unix_s: u64) -> String {
    Civil::new(unix_s, 0).text(Text::HttpDate)
}

/// A date and time of day in the proleptic Gregorian calendar, at an offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
    /// The day of the week, 0 for Sunday.
    pub weekday: u8,
    /// Seconds east of UTC.
    pub offset_s: i32,
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Civil {
    /// What calendars and clocks `offset_s` seconds east of UTC show at `unix_s`.
    pub fn new(unix_s: u64, offset_s: i32) -> Self {
        let local = i64::try_from(unix_s).unwrap_or(i64::MAX / 2) + i64::from(offset_s);
        let (days, second_of_day) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        // Days since 0000-03-01, so that a leap day ends its year; 400 years have 146,097 days.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let small = |value: i64| u8::try_from(value).unwrap_or(0);
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * march_month + 2) / 5 + 1),
            hour: small(second_of_day / 3600),
            minute: small(second_of_day / 60 % 60),
            second: small(second_of_day % 60),
            weekday: small((days + 4).rem_euclid(7)),
            offset_s,
        }
    }

    /// What this machine's calendars and clocks show at `unix_s`.
    pub fn local(unix_s: u64) -> Self {
        let signed = i64::try_from(unix_s).unwrap_or(i64::MAX);
        Self::new(unix_s, sys::time::local_offset_s(signed))
    }

    fn text(&self, text: Text) -> String {
        let Self { year, month, day, hour, minute, second, weekday, offset_s } = *self;
        let month_name = MONTHS[usize::from(month) - 1];
        let sign = if offset_s < 0 { '-' } else { '+' };
        let (east_h, east_m) = (offset_s.abs() / 3600, offset_s.abs() / 60 % 60);
        let time = format_args!("{hour:02}:{minute:02}:{second:02}");
        match text {
            Text::HttpDate => {
                let day_name = DAYS[usize::from(weekday)];
                format!("{day_name}, {day:02} {month_name} {year:04} {time} GMT")
            }
            Text::TimeLocal => {
                format!("{day:02}/{month_name}/{year}:{time} {sign}{east_h:02}{east_m:02}")
            }
            Text::Iso8601 => {
                format!("{year:04}-{month:02}-{day:02}T{time}{sign}{east_h:02}:{east_m:02}")
            }
            Text::LogTime => format!("{year:04}/{month:02}/{day:02} {time}"),
            Text::SyslogTime => format!("{month_name} {day:2} {time}"),
        }
    }
}

/// The texts kept a thread.
#[derive(Clone, Copy, Debug)]
enum Text {
    HttpDate,
    TimeLocal,
    Iso8601,
    LogTime,
    SyslogTime,
}

const TEXTS: usize = 5;

/// The time of one turn of an event loop.
#[derive(Clone, Copy)]
struct Turn {
    tick: Tick,
    unix_ms: u64,
}

#[derive(Default)]
struct Cache {
    /// The second for which `texts` hold.
    second: u64,
    /// The texts asked for in that second.
    texts: [Option<Bytes>; TEXTS],
}

thread_local! {
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
    static CACHE: RefCell<Cache> = RefCell::default();
}

fn text(text: Text) -> Bytes {
    CACHE.with_borrow_mut(|cache| {
        let second = cached_s();
        if second != cache.second {
            cache.second = second;
            cache.texts = Default::default();
        }
        let kept = &mut cache.texts[text as usize];
        kept.get_or_insert_with(|| {
            let civil = match text {
                Text::HttpDate => Civil::new(second, 0),
                _ => Civil::local(second),
            };
            Bytes::from(civil.text(text))
        })
        .clone()
    })
}

/// Turning time by hand, for this thread only.
#[cfg(test)]
pub mod testing {
    use super::Tick;
    use std::cell::Cell;

    /// The two clocks at a standstill.
    #[derive(Clone, Copy, Debug)]
    pub struct Frozen {
        /// What [`super::unix_ms`] says.
        pub unix_ms: u64,
        /// What [`super::monotonic`] says.
        pub tick: Tick,
    }

    thread_local! {
        static FROZEN: Cell<Option<Frozen>> = const { Cell::new(None) };
    }

    /// Stops this thread's clocks at `unix_ms`; the monotonic one keeps its place.
    pub fn freeze(unix_ms: u64) {
        let tick = super::monotonic();
        FROZEN.set(Some(Frozen { unix_ms, tick }));
    }

    /// Moves both of this thread's stopped clocks forward.
    pub fn advance_ms(ms: u64) {
        let old = frozen().expect("freeze() comes first");
        FROZEN.set(Some(Frozen { unix_ms: old.unix_ms + ms, tick: old.tick.plus_ms(ms) }));
    }

    pub(super) fn frozen() -> Option<Frozen> {
        FROZEN.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_795_435_200_000;

    #[test]
    fn cached_time_moves_only_with_update() {
        testing::freeze(NOON);
        update();
        testing::advance_ms(1500);
        assert_eq!((cached_ms(), unix_ms()), (NOON, NOON + 1500));
        update();
        assert_eq!((cached_ms(), cached_s()), (NOON + 1500, NOON / 1000 + 1));
    }

    #[test]
    fn a_thread_without_turns_sees_the_real_time() {
        testing::freeze(NOON);
        assert_eq!(http_date(), "Mon, 23 Nov 2026 12:00:00 GMT");
        testing::advance_ms(59_999);
        assert_eq!(cached_ms(), NOON + 59_999);
        assert_eq!(http_date(), "Mon, 23 Nov 2026 12:00:59 GMT");
    }

    #[test]
    fn texts_are_formatted_once_a_second() {
        testing::freeze(NOON);
        let first = http_date();
        testing::advance_ms(999);
        assert_eq!(first.as_ptr(), http_date().as_ptr());
        testing::advance_ms(1);
        assert_ne!(first, http_date());
    }

    #[test]
    fn every_text_has_nginx_s_shape() {
        let east = Civil::new(NOON / 1000, 5 * 3600 + 1800);
        let west = Civil::new(NOON / 1000 - 20 * 86_400, -3 * 3600 - 1800);
        assert_eq!(east.text(Text::TimeLocal), "23/Nov/2026:17:30:00 +0530");
        assert_eq!(west.text(Text::TimeLocal), "03/Nov/2026:08:30:00 -0330");
        assert_eq!(east.text(Text::Iso8601), "2026-11-23T17:30:00+05:30");
        assert_eq!(east.text(Text::LogTime), "2026/11/23 17:30:00");
        assert_eq!(west.text(Text::SyslogTime), "Nov  3 08:30:00");
    }

    #[test]
    fn dates_agree_with_an_independent_calendar() {
        for unix_s in (0..4_102_444_800).step_by(86_400 * 3 + 4_567) {
            let theirs = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_s));
            assert_eq!(http_date_of(unix_s), theirs);
        }
        assert_eq!(http_date_of(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn ticks_subtract_without_going_below_zero() {
        let (early, late) = (Tick::from_us(1_000), Tick::from_us(4_500));
        assert_eq!(late - early, Duration::from_micros(3_500));
        assert_eq!((late.ms_since(early), early.ms_since(late)), (3, 0));
        assert_eq!(early.plus_ms(2).as_us(), 3_000);
        assert!(monotonic() <= monotonic());
    }
}
