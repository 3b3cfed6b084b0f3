//! [`std::process`], whose children a green thread waits for without blocking its worker.
