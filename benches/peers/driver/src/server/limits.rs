//! The limit of descriptors.

/// How many descriptors the server and the client each need at most.
const WANTED: libc::rlim_t = 1 << 16;

/// Raises the limit for this process and those that it starts, as far as it may. Returns the limit.
pub(crate) fn raise_descriptors() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a limit to be written.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 0;
    }
    let as_root = libc::rlimit { rlim_cur: WANTED, rlim_max: limit.rlim_max.max(WANTED) };
    let as_user = libc::rlimit { rlim_cur: limit.rlim_max.min(WANTED), ..limit };
    let may_raise = |raised: &libc::rlimit| {
        // SAFETY: `raised` is a limit.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, raised) };
        result == 0
    };
    let higher = |raised: &libc::rlimit| limit.rlim_cur < raised.rlim_cur;
    let raised = [as_root, as_user].into_iter().filter(higher).find(may_raise);
    raised.unwrap_or(limit).rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn children_have_the_limit() {
        let limit = raise_descriptors();
        let output = Command::new("sh").args(["-c", "ulimit -n"]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), limit.to_string());
        assert!(limit > 0 && limit <= raise_descriptors());
    }
}
