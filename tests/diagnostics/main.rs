//! What a program says of its green threads: dumps, the debugger, messages of panics, stacks.

mod dump;
mod dump_sigquit;
mod dump_stress;
mod gdb;
mod panic_names;
mod stack_overflow;
mod stack_tools;
