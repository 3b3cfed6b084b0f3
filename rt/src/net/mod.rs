//! [`std::net`] for green threads: sockets whose operations block the green thread, and not its worker.

mod dns;
mod tcp;
mod udp;
