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
    fn a_year_beyond_tm_has_no_offset() {
        assert_eq!(local_offset_s(i64::MAX), 0);
    }
}
