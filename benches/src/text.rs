//! What the messages say: words of random letters, other ones in every message. A log that compresses gets nothing for
//! free from them; real chat, which does compress, is what the import of a real corpus measures.

use std::sync::OnceLock;

/// Texts are cut from this many letters; longer ones repeat.
const POOL_BYTES: usize = 1 << 20;

/// A text of `bytes` ASCII letters and spaces that begins with `start` and goes on as `number` has it. JSON needs no
/// escapes for it.
pub(crate) fn message(start: &str, number: u64, bytes: usize) -> String {
    static POOL: OnceLock<String> = OnceLock::new();
    let pool = POOL.get_or_init(pool);
    let mut text = String::with_capacity(bytes);
    text.push_str(start);
    let mut from = scatter(number) as usize % POOL_BYTES;
    while text.len() < bytes {
        let left = bytes - text.len();
        text.push_str(&pool[from..POOL_BYTES.min(from + left)]);
        from = 0;
    }
    // White space at the end would not survive everywhere.
    if text.ends_with(' ') {
        text.pop();
        text.push('.');
    }
    text
}

fn pool() -> String {
    let mut pool = String::with_capacity(POOL_BYTES);
    let mut number = 0;
    while pool.len() < POOL_BYTES {
        number += 1;
        let random = scatter(number);
        let word = 2 + random % 8;
        pool.extend(
            (0..word).map(|letter| char::from(b'a' + (random >> (8 + 6 * letter) & 0x3f) as u8 % 26)),
        );
        pool.push(' ');
    }
    pool.truncate(POOL_BYTES);
    pool
}

/// splitmix64's finish: neighbouring numbers become unlike ones.
pub(crate) fn scatter(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_length_and_its_start_and_is_like_no_other() {
        for bytes in [20, 256, 3 * POOL_BYTES] {
            let (one, other) = (message("start ", 1, bytes), message("start ", 2, bytes));
            assert_eq!((one.len(), other.len()), (bytes, bytes));
            assert!(one.starts_with("start ") && one != other && !one.ends_with(' '));
        }
    }
}
