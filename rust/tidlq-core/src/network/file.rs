//! The container: magic, version, checksum, length, payload.

use prost::Message;

use super::proto;
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"TIDLQNET";
const HEADER_BYTES: usize = 24;

/// Newest format version that is read.
pub const FORMAT_VERSION: u32 = 1;

/// The payload of a file whose header is right.
pub(super) fn payload(file: &[u8]) -> Result<&[u8]> {
    let magic_bytes = file.len().min(MAGIC.len());
    if file[..magic_bytes] != MAGIC[..magic_bytes] || file.is_empty() {
        return Err(Error::Magic);
    }
    let Some((header, payload)) = file.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Error::Length { want: HEADER_BYTES as u64, got: file.len() as u64 });
    };
    // The version comes first: a newer format may change everything after it.
    let found = word(header, 8);
    if found == 0 {
        return Err(Error::Version { found });
    }
    if found > FORMAT_VERSION {
        return Err(Error::NewerFormat { found, supported: FORMAT_VERSION });
    }
    let length = u64::from(word(header, 16)) | u64::from(word(header, 20)) << 32;
    if length != payload.len() as u64 {
        let want = length.saturating_add(HEADER_BYTES as u64);
        return Err(Error::Length { want, got: file.len() as u64 });
    }
    let (want, got) = (word(header, 12), crc32fast::hash(payload));
    if want != got {
        return Err(Error::Checksum { want, got });
    }
    Ok(payload)
}

/// Decodes a file.
pub(super) fn decode(file: &[u8]) -> Result<proto::Network> {
    let payload = payload(file)?;
    proto::Network::decode(payload).map_err(|error| Error::Encoding { reason: error.to_string() })
}

fn word(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// Puts a header before a payload.
#[cfg(test)]
pub(crate) fn with_header(payload: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(FORMAT_VERSION.to_le_bytes());
    file.extend(crc32fast::hash(payload).to_le_bytes());
    file.extend((payload.len() as u64).to_le_bytes());
    file.extend(payload);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(at: usize, value: u8) -> Vec<u8> {
        let mut file = with_header(b"payload");
        file[at] = value;
        file
    }

    #[test]
    fn a_whole_file_gives_its_payload() {
        assert_eq!(payload(&with_header(b"payload")), Ok(b"payload".as_slice()));
    }

    #[test]
    fn another_file_is_refused_by_its_magic() {
        assert_eq!(payload(b""), Err(Error::Magic));
        assert_eq!(payload(b"ONNX"), Err(Error::Magic));
        assert_eq!(payload(&edited(0, b'X')), Err(Error::Magic));
    }

    #[test]
    fn a_newer_version_is_named() {
        let error = payload(&edited(8, 9)).unwrap_err();
        assert_eq!(error, Error::NewerFormat { found: 9, supported: 1 });
        assert!(error.to_string().contains("newer format version"));
    }

    #[test]
    fn version_zero_is_refused() {
        assert_eq!(payload(&edited(8, 0)), Err(Error::Version { found: 0 }));
    }

    #[test]
    fn a_short_file_states_both_lengths() {
        let file = with_header(b"payload");
        assert_eq!(payload(&file[..10]), Err(Error::Length { want: 24, got: 10 }));
        assert_eq!(payload(&file[..30]), Err(Error::Length { want: 31, got: 30 }));
    }

    #[test]
    fn a_changed_payload_fails_the_checksum() {
        assert!(matches!(payload(&edited(26, b'X')), Err(Error::Checksum { .. })));
    }

    #[test]
    fn a_payload_that_is_not_protobuf_is_refused() {
        assert!(matches!(decode(&with_header(b"\xff\xff\xff")), Err(Error::Encoding { .. })));
    }
}
