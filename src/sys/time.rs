//! The local time zone, which only libc knows.

/// Seconds east of UTC that local time is at `unix_s`; 0 when libc cannot tell.
pub fn local_offset_s(unix_s: i64) -> i32 {
    let time: libc::time_t = unix_s;
    // SAFETY: an all-zero `tm` is a valid value of that plain C struct.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; localtime_r keeps neither.
    let done = unsafe { libc::localtime_r(&time, &mut tm) };
    if done.is_null() { 0 } else { i32::try_from(tm.tm_gmtoff).unwrap_or(0) }
}

/// The time `unix_s`, local or UTC, as strftime(3) makes it of `format`; empty where that is longer
/// than `most` bytes or libc cannot tell.
pub fn formatted(format: &[u8], unix_s: i64, local: bool, most: usize) -> Vec<u8> {
    let Ok(format) = std::ffi::CString::new(format) else { return Vec::new() };
    let time: libc::time_t = unix_s;
    // SAFETY: an all-zero `tm` is a valid value of that plain C struct.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals; neither function keeps them.
    let done = unsafe {
        if local { libc::localtime_r(&time, &mut tm) } else { libc::gmtime_r(&time, &mut tm) }
    };
    if done.is_null() {
        return Vec::new();
    }
    let mut text = vec![0u8; most];
    // SAFETY: `text` has room for `most` bytes, `format` ends with NUL, `tm` was filled in above.
    let length = unsafe { libc::strftime(text.as_mut_ptr().cast(), most, format.as_ptr(), &tm) };
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_is_a_time_zone() {
        let offset = local_offset_s(1_795_435_200);
        assert!((-12 * 3600..=14 * 3600).contains(&offset));
        assert_eq!(offset % 60, 0);
    }

    #[test]
    fn times_are_formatted() {
        assert_eq!(formatted(b"%Y-%m-%d %H", 0, false, 64), b"1970-01-01 00");
        assert_eq!(formatted(b"%Y-%m-%d", 0, false, 5), b"");
        assert_eq!(formatted(b"a\0b", 0, false, 64), b"");
    }

    #[test]
    fn a_year_beyond_tm_has_no_offset() {
        assert_eq!(local_offset_s(i64::MAX), 0);
    }
}
