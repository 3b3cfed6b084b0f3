//! What can go wrong with stack memory, said so that a user can act on it.

use std::{fmt, io};

/// Why a stack could not be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum StackError {
    /// The stack asked for is larger than any size class.
    TooLarge {
        /// Bytes asked for.
        asked: usize,
    },
    /// The kernel refused to reserve address space.
    Reserve {
        /// Bytes the reservation was for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused to install a guard page.
    Guard {
        /// Stacks that this pool has guarded so far.
        guarded: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { asked } => write!(
                f,
                "a green thread's stack of {asked} bytes was asked for; the largest is {} bytes",
                crate::SizeClass::MAX_USABLE
            ),
            Self::Reserve { bytes, source } => write!(
                f,
                "cannot reserve {bytes} bytes of address space for green threads' stacks: {source}; \
                 if the process has an address space limit (ulimit -v) raise it, or use smaller \
                 stacks (GTHREAD_STACK_SIZE, Builder::stack_size)"
            ),
            Self::Guard { guarded, source } => {
                write!(f, "cannot guard another green thread's stack ({guarded} are): {source}")?;
                if source.raw_os_error() == Some(libc::ENOMEM) {
                    write!(f, "; on this kernel each guard takes a memory map, and ")?;
                    match max_map_count() {
                        Some(max) => write!(f, "vm.max_map_count is {max}")?,
                        None => write!(f, "vm.max_map_count limits them")?,
                    }
                    write!(f, ": raise it (sysctl -w vm.max_map_count=...), or run Linux 6.13+")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLarge { .. } => None,
            Self::Reserve { source, .. } | Self::Guard { source, .. } => Some(source),
        }
    }
}

impl From<StackError> for io::Error {
    fn from(error: StackError) -> Self {
        let kind = match error {
            StackError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            StackError::Reserve { .. } | StackError::Guard { .. } => io::ErrorKind::OutOfMemory,
        };
        Self::new(kind, error)
    }
}

/// The kernel's limit on memory maps per process, where it can be read.
fn max_map_count() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_limit_is_named_with_its_remedy() {
        let error = StackError::Guard {
            guarded: 32_700,
            source: io::Error::from_raw_os_error(libc::ENOMEM),
        };
        let text = error.to_string();
        assert!(text.contains("vm.max_map_count"), "{text}");
        assert!(text.contains("32700"), "{text}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::OutOfMemory);
    }
}
