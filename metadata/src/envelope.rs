//! What stands in front of a stored value: `docs/formats/metadata.md` draws it.
//!
//! Pure: bytes in, records out.
use bytes::{BufMut, Bytes, BytesMut};

use crate::store::{Error, Key, Record, Token, Version};

/// The store numbers its changes itself, as etcd does.
const FORMAT_UNNUMBERED: u8 = 1;
/// The version stands in the envelope.
const FORMAT_NUMBERED: u8 = 2;

const TOKEN_BYTES: usize = 16;

/// `[format u8][crc32c u32][token 16][value]`, big endian.
pub(crate) fn seal(key: &Key, token: Token, value: &[u8]) -> Vec<u8> {
    write(key, FORMAT_UNNUMBERED, &[&token.0, value])
}

/// `[format u8][crc32c u32][token 16][version u64][value]`, big endian.
pub(crate) fn seal_numbered(record: &Record) -> Vec<u8> {
    write(&record.key, FORMAT_NUMBERED, &[&record.token.0, &record.version.0.to_be_bytes(), &record.value])
}

/// The token and the value of what [`seal`] wrote under the same key.
pub(crate) fn open(key: &Key, stored: &Bytes) -> Result<(Token, Bytes), Error> {
    let mut body = read(key, FORMAT_UNNUMBERED, stored)?;
    let token = take(key, &mut body)?;
    Ok((Token(token), body))
}

/// The record of what [`seal_numbered`] wrote under the same key.
pub(crate) fn open_numbered(key: &Key, stored: &Bytes) -> Result<Record, Error> {
    let mut body = read(key, FORMAT_NUMBERED, stored)?;
    let token = take::<TOKEN_BYTES>(key, &mut body)?;
    let version = u64::from_be_bytes(take(key, &mut body)?);
    Ok(Record { key: key.clone(), value: body, version: Version(version), token: Token(token) })
}

/// The key is part of the sum, so that a value under a foreign key does not pass.
fn sum(key: &Key, format: u8, body: &[&[u8]]) -> u32 {
    let start = crc32c::crc32c_append(crc32c::crc32c(key.as_str().as_bytes()), &[format]);
    body.iter().fold(start, |sum, part| crc32c::crc32c_append(sum, part))
}

fn write(key: &Key, format: u8, body: &[&[u8]]) -> Vec<u8> {
    let mut stored = BytesMut::with_capacity(5 + body.iter().map(|part| part.len()).sum::<usize>());
    stored.put_u8(format);
    stored.put_u32(sum(key, format, body));
    for part in body {
        stored.put_slice(part);
    }
    stored.into()
}

fn read(key: &Key, format: u8, stored: &Bytes) -> Result<Bytes, Error> {
    let mut body = stored.clone();
    let found: [u8; 1] = take(key, &mut body)?;
    let written = u32::from_be_bytes(take(key, &mut body)?);
    if found == [format] && written == sum(key, format, &[&body]) { Ok(body) } else { Err(corrupt(key)) }
}

fn take<const LENGTH: usize>(key: &Key, body: &mut Bytes) -> Result<[u8; LENGTH], Error> {
    let taken = *body.first_chunk::<LENGTH>().ok_or_else(|| corrupt(key))?;
    *body = body.slice(LENGTH..);
    Ok(taken)
}

fn corrupt(key: &Key) -> Error {
    Error::Corrupt { key: key.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: Token = Token(*b"0123456789abcdef");

    fn sample() -> Record {
        Record { key: "a".into(), value: "value".into(), version: Version(7), token: TOKEN }
    }

    #[test]
    fn the_bytes_are_those_of_the_format_page() {
        assert_eq!(seal(&"a".into(), TOKEN, b"value"), b"\x01\x51\x33\x40\x620123456789abcdefvalue");
        assert_eq!(seal_numbered(&sample()), b"\x02\x37\x57\xf6\x000123456789abcdef\0\0\0\0\0\0\0\x07value");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(key in ".+", value: Vec<u8>, token: [u8; 16], version: u64) {
            let record = Record {
                key: key.into(), value: value.into(), version: Version(version), token: Token(token),
            };
            prop_assert_eq!(open_numbered(&record.key, &seal_numbered(&record).into()), Ok(record.clone()));
            let unnumbered = seal(&record.key, record.token, &record.value).into();
            prop_assert_eq!(open(&record.key, &unnumbered), Ok((record.token, record.value)));
        }
    }

    #[test]
    fn an_envelope_cut_anywhere_is_corrupt() {
        let whole = Bytes::from(seal_numbered(&sample()));
        for cut in 0..whole.len() {
            assert_eq!(open_numbered(&"a".into(), &whole.slice(..cut)), Err(corrupt(&"a".into())), "cut at {cut}");
        }
    }

    #[test]
    fn an_envelope_with_any_bit_flipped_is_corrupt() {
        let whole = seal_numbered(&sample());
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_numbered(&"a".into(), &flipped.into()), Err(corrupt(&"a".into())), "bit {bit}");
        }
    }

    #[test]
    fn a_value_under_a_foreign_key_or_of_the_other_format_is_corrupt() {
        let numbered = Bytes::from(seal_numbered(&sample()));
        assert_eq!(open_numbered(&"b".into(), &numbered), Err(corrupt(&"b".into())));
        assert_eq!(open(&"a".into(), &numbered), Err(corrupt(&"a".into())));
    }
}
