//! Closing a segment with a footer, and reading one.
use std::io;
use std::sync::Arc;

use proto::{EntryId, LedgerId};

use super::HEADER_END;
use super::scan::Window;
use crate::disk::{AlignedBuffer, BLOCK, DiskFile};
use crate::format::{EncodedFooter, Footer, Generation, IndexEntry, Row, SegmentId, encode_footer};
use crate::index::{Extent, OpenLedger, OpenSegment};

/// Appends the footer to what is in `file` and makes both durable. A file at least half full keeps its length, so that its
/// blocks need not be written first when it is used again, and so does one that is free at once; what others have too much is cut
/// off. Gives the directory, and how many bytes were written.
pub(crate) fn write_footer(
    file: &dyn DiskFile,
    segment: SegmentId,
    extent: &Extent,
    open: &OpenSegment,
) -> io::Result<(Vec<Row>, u64)> {
    let footer = Footer {
        segment,
        generation: extent.generation,
        data_end: extent.data_end,
        before: open.before,
        sequence: open.sequence,
        rows: 0,
        rows_offset: 0,
        rows_crc: 0,
        file_length: 0,
    };
    let length = file.length()?;
    let keeps = length / 2 <= extent.data_end || open.ledgers.is_empty();
    let length_min = if keeps { length / BLOCK as u64 * BLOCK as u64 } else { 0 };
    let mut written = 0;
    let EncodedFooter { rows, trailer, footer } =
        encode_footer(footer, length_min, runs(open), &mut |offset, bytes| {
            written += bytes.len() as u64;
            file.write_at(offset, bytes)
        })?;
    if footer.file_length < length {
        file.set_length(footer.file_length)?;
    }
    file.sync()?;
    file.write_at(footer.trailer_offset(), trailer.bytes())?; // It vouches for what is durable now.
    file.sync()?;
    Ok((rows, written + trailer.len() as u64))
}

/// The footer and its directory, if they are whole. What the directory's runs point to is not looked at.
pub(crate) fn read_footer(
    file: &Arc<dyn DiskFile>,
    segment: SegmentId,
    generation: Generation,
) -> io::Result<Option<(Footer, Vec<Row>)>> {
    // A torn tail may leave a length that is no whole block.
    let length = file.length()? / BLOCK as u64 * BLOCK as u64;
    let Some(trailer_at) = length.checked_sub(BLOCK as u64).filter(|at| HEADER_END <= *at) else { return Ok(None) };
    let mut block = AlignedBuffer::zeroed(BLOCK);
    file.read_at(trailer_at, block.bytes_mut())?;
    let Some(footer) = Footer::read(block.bytes(), segment, generation, length) else { return Ok(None) };
    // The trailer's own check has bounded the rows by the file.
    let mut window = Window::of_size(file.clone(), BLOCK);
    let rows = footer.rows(window.get(footer.rows_offset, footer.rows_bytes())?);
    if rows.is_none() {
        tracing::warn!(%segment, "a footer is damaged");
    }
    Ok(rows.map(|rows| (footer, rows)))
}

fn runs(open: &OpenSegment) -> impl Iterator<Item = (Row, &[IndexEntry])> {
    let mut ledgers: Vec<_> = open.ledgers.iter().collect();
    ledgers.sort_unstable_by_key(|(ledger, _)| **ledger);
    ledgers.into_iter().flat_map(|(ledger, held)| {
        // A ledger that was only fenced or deleted here has a row as well.
        let nothing = held.entries.is_empty().then_some(&[][..]);
        held.entries.pieces().chain(nothing).map(|piece| (row(*ledger, held, piece), piece))
    })
}

fn row(ledger: LedgerId, held: &OpenLedger, piece: &[IndexEntry]) -> Row {
    let live: u64 = piece.iter().map(IndexEntry::bytes).sum();
    let bytes = if piece.is_empty() { held.dead_bytes } else { live };
    Row {
        ledger,
        first: piece.first().map_or(EntryId::FIRST, |entry| entry.entry),
        end: piece.last().map_or(EntryId::FIRST, |entry| entry.entry.next()),
        confirmed: held.confirmed,
        offset: 0,
        count: 0,
        flags: held.flags,
        crc: 0,
        bytes: u32::try_from(bytes).expect("segments are below 4 GiB"),
    }
}
