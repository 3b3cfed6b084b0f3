//! Has the kernel refuse system calls, also those that no function of libc makes.

/// Whose system calls are filtered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filtered {
    /// Those of the calling thread, and of those that it starts.
    Thread,
    Process,
}

/// From now on the kernel answers like this to a system call, perhaps only with this number as its first argument.
pub(crate) fn filter(call: libc::c_long, first: Option<u32>, answer: u32, filtered: Filtered) {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let read = |at: usize| step(BPF_LD | BPF_W | BPF_ABS, 0, 0, at as u32);
    let is = |n, jf| step(BPF_JMP | BPF_JEQ | BPF_K, 0, jf, n);
    let of_number = is(u32::try_from(call).unwrap(), if first.is_some() { 3 } else { 1 });
    let mut steps = vec![read(std::mem::offset_of!(libc::seccomp_data, nr)), of_number];
    if let Some(first) = first {
        // The lower half, on the machines that these tests run on.
        steps.extend([read(std::mem::offset_of!(libc::seccomp_data, args)), is(first, 1)]);
    }
    steps.push(step(BPF_RET | BPF_K, 0, 0, answer));
    steps.push(step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let flags = match filtered {
        Filtered::Thread => 0,
        Filtered::Process => libc::SECCOMP_FILTER_FLAG_TSYNC,
    };
    // SAFETY: numbers, and a filter that is there during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        assert_eq!(libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter), 0);
    }
}
