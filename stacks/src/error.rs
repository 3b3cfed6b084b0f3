//! Errors of stack memory, with messages that name the remedy.

use std::{fmt, io};

/// The reason why a stack could not be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum StackError {
    /// The requested stack or guard is larger than the maximum.
    TooLarge {
        /// The number of bytes that were requested.
        asked: usize,
    },
    /// A slot of this size has no room for a stack above the pool's guard.
    NoRoom {
        /// The size of the slot in bytes.
        slot: usize,
        /// The size of the guard in bytes.
        guard: usize,
    },
    /// The kernel refused to reserve address space.
    Reserve {
        /// The size of the reservation in bytes.
        bytes: usize,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel refused to install a guard.
    Guard {
        /// The kernel's error.
        source: io::Error,
    },
    /// Guards take memory maps on this kernel, and no more maps are left.
    Maps {
        /// The number of the pool's stacks that are guarded by memory maps.
        guarded: usize,
        /// The number of maps that stacks may take.
        limit: usize,
        /// The number of maps that the process may have, if that is known.
        of: Option<usize>,
        /// The kernel's error, if the kernel was asked.
        source: Option<io::Error>,
    },
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { asked } => write!(
                f,
                "a green thread's stack of {asked} bytes was asked for; the largest is {} bytes, \
                 with a guard of at most 128 MiB",
                crate::SizeClass::MAX_USABLE
            ),
            Self::NoRoom { slot, guard } => write!(
                f,
                "a stack slot of {slot} bytes has no room for a guard of {guard} bytes; use a larger \
                 size class, or smaller guards"
            ),
            Self::Reserve { bytes, source } => write!(
                f,
                "cannot reserve {bytes} bytes of address space for green threads' stacks: {source}; \
                 if the process has a limit on address space (ulimit -v) or the system counts what \
                 is reserved (vm.overcommit_memory=2), raise it, or use smaller stacks \
                 (GTHREAD_STACK_SIZE, Builder::stack_size)"
            ),
            Self::Guard { source } => {
                write!(
                    f,
                    "cannot guard another green thread's stack: {source}; if the system or the \
                     control group is out of memory (memory.max), raise it, or have fewer green \
                     threads at once"
                )
            }
            Self::Maps { guarded, limit, of, source } => {
                write!(f, "cannot guard another green thread's stack: {guarded} are guarded, ")?;
                write!(f, "each by two memory maps; ")?;
                match (source, of) {
                    (Some(source), _) => write!(f, "the kernel gives no more ({source}), and ")?,
                    (None, _) => write!(f, "stacks may take {limit} maps, and ")?,
                }
                match of {
                    Some(of) => write!(f, "vm.max_map_count is {of}")?,
                    None => write!(f, "vm.max_map_count limits them")?,
                }
                write!(
                    f,
                    ": raise it (sysctl -w vm.max_map_count=...), or use Linux 6.13 or newer, "
                )?;
                write!(f, "where guards take none")
            }
        }
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLarge { .. } | Self::NoRoom { .. } => None,
            Self::Reserve { source, .. } | Self::Guard { source } => Some(source),
            Self::Maps { source, .. } => source.as_ref().map(|source| source as _),
        }
    }
}

impl From<StackError> for io::Error {
    fn from(error: StackError) -> Self {
        let kind = match error {
            StackError::TooLarge { .. } | StackError::NoRoom { .. } => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::OutOfMemory,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_limit_is_named_with_its_remedy() {
        let error =
            StackError::Maps { guarded: 30_718, limit: 61_435, of: Some(65_530), source: None };
        let text = error.to_string();
        for part in ["vm.max_map_count is 65530", "30718 are guarded", "sysctl -w"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::OutOfMemory);
    }
}
