//! JSON written straight into a buffer: encoding an event must not allocate.

/// Bytes looked at together; the compiler turns the test of one block into a few vector instructions.
const BLOCK: usize = 16;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as the inside of a JSON string. What comes out has no control character, so no line break either.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let block = &bytes[at..bytes.len().min(at + BLOCK)];
        if !block.iter().fold(false, |any, byte| any | needs_escape(*byte)) {
            at += block.len();
            continue;
        }
        for (place, byte) in block.iter().enumerate().filter(|(_, byte)| ESCAPED[usize::from(**byte)]) {
            out.extend_from_slice(&bytes[copied..at + place]);
            copied = at + place + 1;
            push_escape(out, *byte);
        }
        at += block.len();
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// What [`needs_escape`] says, for bytes looked at one by one.
const ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut byte = 0;
    while byte < escaped.len() {
        escaped[byte] = needs_escape(byte as u8);
        byte += 1;
    }
    escaped
};

const fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        other => {
            let digits = [HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends `number` in decimal.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `number` as eight hexadecimal digits.
pub(super) fn push_hex(out: &mut Vec<u8>, number: u32) {
    let mut digits = [0_u8; 8];
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = HEX[((number >> (28 - 4 * place)) & 15) as usize];
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_reads_back_from_its_json_and_has_no_line_break(text in "(\\PC|[\\x00-\\x22\\\\\u{7f}\u{2028}]){0,60}") {
            let mut out = vec![b'"'];
            push_escaped(&mut out, &text);
            out.push(b'"');
            prop_assert!(out.iter().all(|byte| *byte >= 0x20));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn numbers_are_written_as_the_standard_library_writes_them(number: u64, tag: u32) {
            let mut out = Vec::new();
            push_number(&mut out, number);
            push_hex(&mut out, tag);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{number}{tag:08x}"));
        }
    }
}
