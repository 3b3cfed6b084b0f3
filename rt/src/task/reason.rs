//! Why a thread waits.

/// One line for each reason: its name, and what a dump says the thread waits in.
macro_rules! reasons {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// Why a thread waits; for dumps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Reason {
            $($name,)+
        }

        impl Reason {
            const ALL: &[(Self, &str)] = &[$((Self::$name, $text),)+];
        }
    };
}

reasons! {
    Running = "running",
    Park = "park",
    Sleep = "sleep",
    Join = "join",
    Scope = "scope",
    Recv = "recv",
    Send = "send",
    Select = "select",
    WaitGroup = "wait group",
}

impl Reason {
    /// The inverse of `as u8`.
    pub(crate) fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).map_or(Self::Running, |&(reason, _)| reason)
    }

    /// As dumps call it.
    pub(crate) fn text(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}
