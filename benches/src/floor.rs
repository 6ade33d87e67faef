//! The floors: the least that could do the work that is measured.

pub(crate) mod append;
pub(crate) mod frames;
pub(crate) mod scan;
pub(crate) mod server;
pub(crate) mod sled_scan;
