//! What all targets share: how much memory an input may take.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What any input may take, however short: the buffers of one frame and one chunk of a backup, twice over.
const BYTES_ANYHOW: usize = 12 << 20;
/// What each byte of the input may take beyond that. The properties make several copies and look at them in several ways.
const BYTES_FOR_EACH: usize = 64;

/// Holds the input against the property, and the memory that this took at any moment against the bound.
pub fn bounded(data: &[u8], property: impl FnOnce(&[u8])) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    property(data);
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    let bound = BYTES_ANYHOW + BYTES_FOR_EACH * data.len();
    assert!(
        taken <= bound,
        "{} bytes of input took {taken} bytes of memory; {bound} are allowed",
        data.len()
    );
}
