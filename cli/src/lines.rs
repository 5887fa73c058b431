//! Cuts bytes into lines. Pure: chunks in, lines out.
//!
//! Promises: the lines, each followed by `\n`, are the bytes again (the last line alone may have come without). Any byte is fine.

/// Keeps the line that has no end yet.
#[derive(Debug)]
pub(crate) struct Splitter {
    partial: Vec<u8>,
    /// Complete lines so far.
    count: u64,
    bytes_max: usize,
}

/// A line is longer than a message may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number} is longer than {bytes_max} bytes, the most a message holds")]
pub(crate) struct LineTooLong {
    /// The first line is 1.
    pub(crate) number: u64,
    pub(crate) bytes_max: usize,
}

impl Splitter {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { partial: vec![], count: 0, bytes_max }
    }

    /// Appends to `lines` what `chunk` completes. After an error, `lines` holds what came before the line that is too long.
    pub(crate) fn push(&mut self, chunk: &[u8], lines: &mut Vec<Vec<u8>>) -> Result<(), LineTooLong> {
        let mut rest = chunk;
        while let Some((line, after)) = cut(rest) {
            self.check(line)?;
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(line);
            lines.push(whole);
            self.count += 1;
            rest = after;
        }
        self.check(rest)?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// The last line, when it had no end.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (!self.partial.is_empty()).then_some(self.partial)
    }

    fn check(&self, more: &[u8]) -> Result<(), LineTooLong> {
        if self.bytes_max < self.partial.len() + more.len() {
            return Err(LineTooLong { number: self.count + 1, bytes_max: self.bytes_max });
        }
        Ok(())
    }
}

fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]], bytes_max: usize) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let (mut splitter, mut lines) = (Splitter::new(bytes_max), vec![]);
        for chunk in chunks {
            splitter.push(chunk, &mut lines)?;
        }
        lines.extend(splitter.finish());
        Ok(lines)
    }

    #[test]
    fn empty_lines_crlf_and_a_missing_end_stay_what_they_are() {
        let lines = split(&[b"a\n\n\r\n\xff\xfe\nend"], 100).expect("short lines");
        assert_eq!(lines, [&b"a"[..], b"", b"\r", b"\xff\xfe", b"end"]);
        assert_eq!(split(&[b""], 100), Ok(vec![]));
        assert_eq!(split(&[b"\n"], 100), Ok(vec![vec![]]));
    }

    #[test]
    fn a_line_that_is_too_long_is_named_by_its_number() {
        assert_eq!(split(&[b"abc\nabc\n"], 3).map(|lines| lines.len()), Ok(2));
        let expected = LineTooLong { number: 2, bytes_max: 3 };
        assert_eq!(split(&[b"a\nabcd\n"], 3), Err(expected.clone()));
        assert_eq!(split(&[b"a\nab", b"c", b"d"], 3), Err(expected), "also before its end has come");
    }

    proptest! {
        #[test]
        fn lines_joined_give_back_the_bytes(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..5),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let lines = split(&chunks, 1000).expect("short lines");
            let mut joined: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
            if text.last().is_some_and(|byte| *byte != b'\n') {
                prop_assert_eq!(joined.pop(), Some(b'\n'));
            }
            prop_assert_eq!(joined, text);
        }
    }
}
