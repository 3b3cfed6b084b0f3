//! Where a debugger finds what in a control block: `tools/gdb-gthread.py`.
//!
//! A plain table under a name that is in every binary, so that a program need not have debug information of
//! gthread's types. Nothing in the process reads it. Where a task's stack pointer is in its fiber the script knows for
//! the switch of our own; of corosensei's, it finds it among the fiber's words.

use std::mem::offset_of;

use crate::task::header::{Body, Task};

/// All in words: the script reads them in this order.
#[repr(C)]
struct Layout {
    /// Of this table.
    version: usize,
    /// Bytes of a control block, which ends where the colour of its slot begins.
    size: usize,
    /// Offsets in it, and the size of the fiber.
    join: usize,
    wait: usize,
    fiber: usize,
    fiber_size: usize,
    id: usize,
    name: usize,
    /// How slots are coloured: so many colours, a step of so many bytes.
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
