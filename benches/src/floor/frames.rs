//! The plainest log there could be: records in a file, each as length, CRC32 and bytes.

/// Length and CRC32, four bytes each.
pub(crate) const HEADER_BYTES: usize = 8;

/// Appends a record.
pub(crate) fn write(out: &mut Vec<u8>, record: &[u8]) {
    out.extend_from_slice(&(record.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
    out.extend_from_slice(record);
}

/// What a buffer starts with.
pub(crate) enum Next<'a> {
    Record(&'a [u8]),
    /// More bytes are needed.
    Cut,
    /// The CRC does not fit.
    Damaged,
}

/// Reads the record that `input` starts with.
pub(crate) fn read(input: &[u8]) -> Next<'_> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else { return Next::Cut };
    let [a, b, c, d, crc @ ..] = *header;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    match rest.get(..length) {
        None => Next::Cut,
        Some(record) if crc32fast::hash(record) == u32::from_le_bytes(crc) => Next::Record(record),
        Some(_) => Next::Damaged,
    }
}
