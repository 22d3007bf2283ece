//! `limit_rate`: how fast a response leaves, by nginx's sums (`ngx_http_write_filter`).

use crate::clock;
use crate::downstream::Wire;
use crate::request::Request;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

/// The limit of one response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rate: u64,
    after: u64,
}

impl Pace {
    /// That of `request`, once its response has begun; `None` where there is none.
    pub fn of(request: &Request) -> Option<Self> {
        let rate = request.limits.rate.get().filter(|it| *it > 0)?;
        Some(Self { rate, after: request.limits.after.get() })
    }

    /// Bytes that may leave now, `seconds` after the request began, when `sent` have left; or the
    /// milliseconds to wait for more.
    fn room(self, sent: u64, seconds: u64) -> Result<u64, u64> {
        let earned = self.rate.saturating_mul(seconds + 1).saturating_add(self.after);
        match earned.saturating_sub(sent) {
            0 => Err((sent - earned).saturating_mul(1000) / self.rate + 1),
            room => Ok(room),
        }
    }

    /// Milliseconds to wait when the bytes from `before` to `now` have left.
    fn pause_ms(self, before: u64, now: u64) -> u64 {
        let paid = now.saturating_sub(self.after) - before.saturating_sub(self.after);
        paid.saturating_mul(1000) / self.rate
    }

    /// Waits until `request` may send something more, and says how much.
    pub async fn wait(self, request: &Request, sent: u64) -> u64 {
        loop {
            let seconds = clock::cached_s().saturating_sub(request.started_unix_ms / 1000);
            match self.room(sent, seconds) {
                Ok(room) => return room,
                Err(ms) => sleep(ms).await,
            }
        }
    }

    /// Waits as long as the bytes from `before` to `now` take.
    pub async fn rest(self, before: u64, now: u64) {
        match self.pause_ms(before, now) {
            0 => {}
            ms => sleep(ms).await,
        }
    }

    /// Sends all that `wire` holds.
    ///
    /// # Errors
    /// As [`Wire::poll_flush`].
    pub async fn flush(self, request: &Request, wire: &mut Wire) -> io::Result<()> {
        loop {
            let before = wire.sent();
            let mut room = self.wait(request, before).await;
            poll_fn(|cx| wire.poll_flush_some(cx, &mut room)).await?;
            if wire.is_flushed() {
                return Ok(());
            }
            self.rest(before, wire.sent()).await;
        }
    }
}

async fn sleep(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    // The turn may have begun before this was due.
    clock::update();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_bytes_and_what_is_ahead_of_them_is_free() {
        let pace = Pace { rate: 100, after: 0 };
        assert_eq!(pace.room(0, 0), Ok(100));
        assert_eq!(pace.room(40, 0), Ok(60));
        assert_eq!(pace.room(100, 0), Err(1));
        assert_eq!(pace.room(150, 0), Err(501));
        assert_eq!(pace.room(150, 1), Ok(50));
        assert_eq!((pace.pause_ms(0, 100), pace.pause_ms(100, 109)), (1000, 90));

        let pace = Pace { rate: 100, after: 50 };
        assert_eq!(pace.room(0, 0), Ok(150));
        assert_eq!((pace.pause_ms(0, 50), pace.pause_ms(0, 150)), (0, 1000));
    }
}
