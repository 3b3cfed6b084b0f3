//! Threads that wait for each other in a circle.

use std::collections::HashMap;

use crate::diagnostics::dump::{Dump, ThreadDump};

impl Dump {
    /// Returns every cycle of green threads in which each waits for the next: none of them will
    /// ever run again. Each cycle is returned once, beginning with its oldest thread.
    ///
    /// Found from exact knowledge only: a thread that waits to join another, or that waits for a
    /// lock which another holds (an `RwLock` only if it is held for writing).
    pub fn cycles(&self) -> Vec<Vec<&ThreadDump>> {
        let by_id: HashMap<u64, &ThreadDump> = self.threads().map(|t| (t.id, t)).collect();
        let next = |thread: &ThreadDump| {
            thread.wait.and_then(|wait| wait.thread).and_then(|id| by_id.get(&id).copied())
        };
        // Every thread waits for at most one other, so a walk along the waits ends or reaches a
        // cycle.
        let mut walked: HashMap<u64, u64> = HashMap::new();
        let mut cycles = Vec::new();
        for start in self.threads() {
            let mut path = Vec::new();
            let mut place = Some(start);
            while let Some(thread) = place.filter(|thread| !walked.contains_key(&thread.id)) {
                walked.insert(thread.id, start.id);
                path.push(thread);
                place = next(thread);
            }
            // The walk has stopped at a thread of an earlier walk or of this one.
            let Some(again) = place.filter(|thread| walked[&thread.id] == start.id) else {
                continue;
            };
            let entry = path.iter().position(|thread| thread.id == again.id).unwrap_or(0);
            let mut cycle = path.split_off(entry);
            let oldest = (0..cycle.len()).min_by_key(|&at| cycle[at].id).unwrap_or(0);
            cycle.rotate_left(oldest);
            cycles.push(cycle);
        }
        cycles
    }
}
