//! The layout of control blocks, for debuggers (`tools/gdb-gthread.py`).
//!
//! A plain table under a symbol that every binary has, so that a program needs no debug information
//! for gthread's types. Nothing in the process reads it. For this crate's own context switch, the
//! script knows where a fiber keeps the task's stack pointer. For corosensei's, it searches the
//! fiber's words.

use std::mem::offset_of;

use crate::task::header::{Body, Task};

/// The table. Every field is a word, and the script reads them in this order.
#[repr(C)]
struct Layout {
    /// The version of this table.
    version: usize,
    /// Bytes of a control block, which ends where the slot's colour begins.
    size: usize,
    /// Offsets in the control block, and the size of the fiber.
    join: usize,
    wait: usize,
    fiber: usize,
    fiber_size: usize,
    id: usize,
    name: usize,
    /// Slot colouring: the number of colours, and the step between them in bytes.
    colours: usize,
    colour_step: usize,
}

#[used]
#[unsafe(no_mangle)]
static GTHREAD_TASKS: Layout = Layout {
    version: 3,
    size: size_of::<Task>(),
    join: offset_of!(Task, join),
    wait: offset_of!(Task, body) + offset_of!(Body, wait),
    fiber: offset_of!(Task, body) + offset_of!(Body, fiber),
    fiber_size: size_of::<gthread_arch::Fiber<crate::task::switch_request::SwitchRequest>>(),
    id: offset_of!(Task, body) + offset_of!(Body, id),
    name: offset_of!(Task, body) + offset_of!(Body, name),
    colours: gthread_arch::stacks::Slot::MAX_COLOUR / gthread_arch::stacks::Slot::COLOUR_STEP,
    colour_step: gthread_arch::stacks::Slot::COLOUR_STEP,
};
