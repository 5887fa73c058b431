//! What waits for the journal's thread and for the reading threads.
use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// A queue between threads. Whoever puts into it bounds what it puts.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    // Pushed to by callers, emptied by threads that wait for it and for nothing else: a task could not block on a disk.
    state: Mutex<State<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    waiting: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let state = State { items: VecDeque::new(), waiting: 0, closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Gives the item back when the queue is closed or holds `limit` already.
    pub(crate) fn push(&self, item: T, limit: usize) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed || limit <= state.items.len() {
            return Err(item);
        }
        state.items.push_back(item);
        if 0 < state.waiting {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits until there is something and takes one. `None` once the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            if state.closed {
                return None;
            }
            self.wait(&mut state);
        }
    }

    /// Moves all there is behind `taken`; waits for something only when `wait` says so. `false` once closed and empty.
    pub(crate) fn take_all(&self, taken: &mut VecDeque<T>, wait: bool) -> bool {
        let mut state = self.state.lock();
        while wait && state.items.is_empty() && !state.closed {
            self.wait(&mut state);
        }
        taken.append(&mut state.items);
        !(state.closed && taken.is_empty())
    }

    /// Refuses all that comes from now on. What is in it is still taken.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Closes and throws away what is in it.
    pub(crate) fn abandon(&self) {
        self.close();
        self.state.lock().items.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    fn wait(&self, state: &mut parking_lot::MutexGuard<'_, State<T>>) {
        state.waiting += 1;
        self.arrived.wait(state);
        state.waiting -= 1;
    }
}
