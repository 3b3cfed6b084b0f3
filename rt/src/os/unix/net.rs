//! Unix domain sockets, like [`std::os::unix::net`].
