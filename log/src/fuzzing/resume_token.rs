//! Resume points.

use crate::{Offset, ResumePoint, Tag};

/// A resume point is read exactly when it is the one spelling of an offset and perhaps a tag.
pub fn resume_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = ResumePoint::parse(text);
    if let Some(point) = read {
        assert_eq!(point.to_string(), text);
    }
    assert_eq!(read, plainly(text), "{text:?}");
}

/// The same, by trying what the parts would be shown as.
fn plainly(text: &str) -> Option<ResumePoint> {
    let (digits, tag) = match text.find('-') {
        Some(hyphen) => (&text[..hyphen], Some(&text[hyphen + 1..])),
        None => (text, None),
    };
    let offset = digits.parse::<u64>().ok().filter(|offset| offset.to_string() == digits)?;
    let tag = match tag {
        Some(tag) => {
            let value = u32::from_str_radix(tag, 16).ok().filter(|value| format!("{value:08x}") == tag)?;
            Some(Tag(value))
        }
        None => None,
    };
    Some(ResumePoint { offset: Offset(offset), tag })
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "0",
        "1",
        "12",
        "12-0000beef",
        "18446744073709551615-ffffffff",
        "18446744073709551616",
        "007",
        "+1",
        "1-",
        "-1",
        "1-ABCDEF01",
        "1-0000000g",
        "1--0000001",
        "1-+0000001",
        "",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
