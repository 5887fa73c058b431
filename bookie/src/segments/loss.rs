//! What a start finds missing or damaged, and whether it goes on nevertheless.
use crate::error::OpenError;
use crate::format::SegmentId;

/// See the module.
#[derive(Debug)]
pub(crate) struct Losses {
    tolerated: bool,
    pub(crate) found: Vec<OpenError>,
    /// Segments of the journal from here on were begun after all that is lost had been written.
    pub(crate) after: SegmentId,
}

impl Losses {
    /// The first ends the start, and nothing is changed.
    pub(crate) fn refused() -> Self {
        Self { tolerated: false, found: Vec::new(), after: SegmentId::FIRST }
    }

    /// The start goes on with what there is. Whoever asks for it has noted that something is lost.
    pub(crate) fn tolerated() -> Self {
        Self { tolerated: true, ..Self::refused() }
    }

    /// Something is lost that was written before segment `after` of the journal was begun.
    pub(super) fn take(&mut self, loss: OpenError, after: SegmentId) -> Result<(), OpenError> {
        if !self.tolerated {
            return Err(loss);
        }
        self.after = self.after.max(after);
        self.found.push(loss);
        Ok(())
    }
}
