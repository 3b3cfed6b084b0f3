//! Size classes: each slot is a power of two of address space, with a page between it and the next.

use crate::{StackError, page_size};

/// The size of a slot: a power of two of address space, guard included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(u8);

impl SizeClass {
    /// log2 of the smallest slot: 16 KiB.
    const MIN_LOG2: u8 = 14;
    /// log2 of the largest slot: 2 GiB, so that 1 GiB of usable stack has a class.
    const MAX_LOG2: u8 = 31;
    /// The number of classes.
    pub(crate) const COUNT: usize = (Self::MAX_LOG2 - Self::MIN_LOG2 + 1) as usize;

    /// The largest usable stack, in bytes, that any class offers.
    pub const MAX_USABLE: usize = 1 << 30;

    /// Returns the smallest class whose slots are at least `bytes` of address space, guard
    /// included.
    ///
    /// # Errors
    ///
    /// [`StackError::TooLarge`] if there is no such class.
    pub fn of_size(bytes: usize) -> Result<Self, StackError> {
        let log2 = bytes.max(2 * page_size()).checked_next_power_of_two().map(usize::ilog2);
        match log2 {
            Some(log2) if log2 <= u32::from(Self::MAX_LOG2) => {
                // At most MAX_LOG2, so it fits.
                Ok(Self((log2 as u8).max(Self::MIN_LOG2)))
            }
            _ => Err(StackError::TooLarge { asked: bytes }),
        }
    }

    /// Returns the smallest class with at least `bytes` of stack above a guard of `guard` bytes.
    ///
    /// # Errors
    ///
    /// [`StackError::TooLarge`] if `bytes` is more than [`SizeClass::MAX_USABLE`], or no class is
    /// large enough for both.
    pub fn of_usable(bytes: usize, guard: usize) -> Result<Self, StackError> {
        if bytes > Self::MAX_USABLE {
            return Err(StackError::TooLarge { asked: bytes });
        }
        Self::of_size(bytes.saturating_add(guard))
    }

    /// Returns the size of a slot of this class in bytes of address space.
    #[inline]
    pub fn size(self) -> usize {
        1 << self.0
    }

    /// Returns the distance between neighbouring slots of this class in bytes.
    ///
    /// It is a page more than the size. At a distance that is a power of two, the top pages of all
    /// slots, which are those in use, would compete for a few sets of the processor's TLB.
    #[inline]
    pub(crate) fn stride(self) -> usize {
        self.size() + page_size()
    }

    /// Returns log2 of the size.
    #[inline]
    pub(crate) fn log2(self) -> u8 {
        self.0
    }

    /// Returns the position among the classes, from the smallest.
    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0 - Self::MIN_LOG2)
    }

    /// Returns the class with this [index](SizeClass::index).
    #[inline]
    pub(crate) fn from_index(index: usize) -> Self {
        debug_assert!(index < Self::COUNT);
        Self(index as u8 + Self::MIN_LOG2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_up_to_a_class() {
        assert_eq!(SizeClass::of_size(256 << 10).unwrap().size(), 256 << 10);
        assert_eq!(SizeClass::of_size((256 << 10) + 1).unwrap().size(), 512 << 10);
        assert!(SizeClass::of_size(0).unwrap().size() >= 2 * page_size());
        assert_eq!(SizeClass::of_usable(256 << 10, page_size()).unwrap().size(), 512 << 10);
        assert!(SizeClass::of_usable(SizeClass::MAX_USABLE, page_size()).is_ok());
    }

    #[test]
    fn absurd_sizes_are_an_error() {
        assert!(matches!(SizeClass::of_size(usize::MAX), Err(StackError::TooLarge { .. })));
        assert!(matches!(SizeClass::of_usable(usize::MAX, 0), Err(StackError::TooLarge { .. })));
        assert!(matches!(SizeClass::of_usable(2, usize::MAX), Err(StackError::TooLarge { .. })));
        assert!(SizeClass::of_usable(SizeClass::MAX_USABLE + 1, 0).is_err());
    }

    #[test]
    fn index_is_a_bijection() {
        for index in 0..SizeClass::COUNT {
            assert_eq!(SizeClass::from_index(index).index(), index);
        }
    }
}
