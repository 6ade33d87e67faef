//! Chance that can be had again: every test draws from `SCROLLBACK_SEED`, and says so when it fails.

use std::thread;

/// SplitMix64: small, and good enough to choose places and moments.
pub(crate) struct Random {
    state: u64,
    seed: u64,
    salt: u64,
}

impl Random {
    /// The stream of numbers of one test or thread, told apart by `salt`.
    pub(crate) fn new(salt: u64) -> Self {
        let seed = super::count("SCROLLBACK_SEED", 1) as u64;
        Self { state: seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ salt, seed, salt }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0);
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// Words of no meaning, `length` bytes of them.
    pub(crate) fn words(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| match self.below(6) {
                0 => ' ',
                _ => char::from(b'a' + self.below(26) as u8),
            })
            .collect()
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("SCROLLBACK_SEED={} (stream {})", self.seed, self.salt);
        }
    }
}
