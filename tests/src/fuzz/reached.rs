//! What inputs led to, counted.
use std::collections::BTreeMap;
use std::fmt;

/// Something that an input led to, and of which kind it was.
pub type Event = (&'static str, &'static str);

/// How often each event came up.
#[derive(Debug, Default)]
pub struct Reached(BTreeMap<Event, u64>);

impl Reached {
    pub(super) fn note(&mut self, what: &'static str, kind: &'static str) {
        *self.0.entry((what, kind)).or_default() += 1;
    }

    /// How often one came up.
    #[must_use]
    pub fn count(&self, event: Event) -> u64 {
        self.0.get(&event).copied().unwrap_or(0)
    }

    /// Which of these never came up.
    #[must_use]
    pub fn missing(&self, events: &[Event]) -> Vec<Event> {
        events.iter().copied().filter(|event| self.count(*event) == 0).collect()
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for ((what, kind), count) in &self.0 {
            match last {
                Some(before) if before == what => write!(f, ", ")?,
                Some(_) => write!(f, "; {what} ")?,
                None => write!(f, "{what} ")?,
            }
            write!(f, "{kind} {count}")?;
            last = Some(what);
        }
        Ok(())
    }
}
