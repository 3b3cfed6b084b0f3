//! Contexts, and groups of threads that may fail.

mod after_func;
mod deadline;
mod ends;
mod err_group;
