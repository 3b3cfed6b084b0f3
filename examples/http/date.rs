//! The date of responses and of the access log.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;
use rustix::time::{ClockId, clock_gettime};

/// The length of `Sun, 06 Nov 1994 08:49:37 GMT`.
const LEN: usize = 29;

/// The date of the current second, as text. It is formatted once in a second.
pub(crate) struct Clock {
    second: u64,
    text: [u8; LEN],
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { second: 0, text: format(0) }
    }

    /// Returns the date now.
    pub(crate) fn now(&mut self) -> &[u8] {
        let second = second_now();
        if second != self.second {
            *self = Self { second, text: format(second) };
        }
        &self.text
    }
}

/// Returns the seconds since 1970. The coarse clock is cheap to read on every machine, and exact to
/// a few milliseconds.
pub(crate) fn second_now() -> u64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec.try_into().unwrap_or(0)
}

fn format(second: u64) -> [u8; LEN] {
    let mut text = [b' '; LEN];
    // It has always this length, until the year 10000.
    let _ = write!(&mut text[..], "{}", http_date(second));
    text
}

/// Returns a date that can be displayed.
pub(crate) fn http_date(second: u64) -> HttpDate {
    // The crate knows no year after 9999.
    const LAST: u64 = 253_402_300_799;
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(second.min(LAST)))
}

/// Returns the seconds since 1970 of a date in a request.
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    Some(seconds_of(date))
}

/// Returns whole seconds, as HTTP has them. Moments before 1970 count as 1970.
pub(crate) fn seconds_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the date as the common log format has it: `06/Nov/1994:08:49:37 +0000`.
pub(crate) fn log_date(second: u64) -> String {
    let text = http_date(second).to_string();
    let mut words = text.split(' ').skip(1);
    let mut word = || words.next().unwrap_or_default();
    format!("{}/{}/{}:{} +0000", word(), word(), word(), word())
}
