//! A request's query, read strictly: a parameter that the call does not know, or one given twice where one counts, is an
//! error, so that a misspelt filter or limit is never silently without effect.

use std::borrow::Cow;

use super::problem::{Code, Problem};

/// The most parameters of one query; a head of 16 KiB could hold thousands.
const PARAMETERS_MAX: usize = 256;

/// The parameters that have not been taken yet.
#[derive(Debug, Default)]
pub struct Query {
    left: Vec<(String, String)>,
}

impl Query {
    /// Reads the part of a URI behind the question mark, `%` and `+` decoded.
    ///
    /// # Errors
    /// [`Code::BadQuery`] when there are too many parameters, or an escape is broken or not UTF-8.
    pub fn parse(text: &str) -> Result<Query, Problem> {
        let mut left = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if left.len() == PARAMETERS_MAX {
                return Err(bad("there are too many parameters"));
            }
            left.push((decode(name)?.into_owned(), decode(value)?.into_owned()));
        }
        Ok(Query { left })
    }

    /// Takes every value of `name`, in order.
    pub fn take_all(&mut self, name: &str) -> Vec<String> {
        self.left.extract_if(.., |(known, _)| known == name).map(|(_, value)| value).collect()
    }

    /// Takes the value of `name`, none when it is not given.
    ///
    /// # Errors
    /// [`Code::BadQuery`] when it is given twice.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.take_all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(bad(format!("`{name}` is given more than once"))),
        }
    }

    /// Takes the whole number in `name`, none when it is not given.
    ///
    /// # Errors
    /// [`Code::BadQuery`] when it is given twice, is not a plain decimal number, or is outside `from..=to`.
    pub fn take_number(&mut self, name: &str, from: u64, to: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse::<u64>().ok() } else { None };
        match number {
            Some(number) if (from..=to).contains(&number) => Ok(Some(number)),
            _ if to == u64::MAX => Err(bad(format!("`{name}` must be a whole number from {from} up"))),
            _ => Err(bad(format!("`{name}` must be a whole number from {from} to {to}"))),
        }
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// [`Code::BadQuery`] when something is.
    pub fn finish(self) -> Result<(), Problem> {
        match self.left.first() {
            None => Ok(()),
            Some(_) => Err(bad("there is a parameter that this call does not know")),
        }
    }
}

fn bad(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(Code::BadQuery, detail)
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (rest.next().and_then(hex), rest.next().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(bad("a `%` is not followed by two hexadecimal digits")),
            },
            other => other,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| bad("a parameter is not UTF-8"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded_and_taken_once() {
        let mut query = Query::parse("channel=C1&limit=%35&channel=C%202&x=a+b&").unwrap();
        assert_eq!(query.take_all("channel"), ["C1", "C 2"]);
        assert_eq!(query.take_number("limit", 1, 9).unwrap(), Some(5));
        assert_eq!(query.take("x").unwrap().as_deref(), Some("a b"));
        assert_eq!(query.take("x").unwrap(), None);
        query.finish().unwrap();
    }

    #[test]
    fn what_is_unknown_doubled_or_no_number_is_refused() {
        assert!(Query::parse("limti=5").unwrap().finish().is_err());
        assert!(Query::parse("a=1&a=1").unwrap().take("a").is_err());
        for value in ["", "-1", "+1", "1.0", "0x1", "18446744073709551616", "11", "0", "%00", "1e0", "٣"] {
            let result = Query::parse(&format!("n={value}")).unwrap().take_number("n", 1, 10);
            assert_eq!(result.unwrap_err().code(), Code::BadQuery, "{value:?}");
        }
        for text in ["a=%", "a=%1", "a=%zz", "%ff=1", "a=%+1"] {
            assert_eq!(Query::parse(text).unwrap_err().code(), Code::BadQuery, "{text:?}");
        }
        assert!(Query::parse(&"a&".repeat(PARAMETERS_MAX)).is_ok());
        assert!(Query::parse(&"a&".repeat(PARAMETERS_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_comes_through_escaped(text in "\\PC{0,20}") {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let mut query = Query::parse(&format!("a={escaped}")).unwrap();
            prop_assert_eq!(query.take("a").unwrap(), Some(text));
        }

        #[test]
        fn no_query_is_too_odd_to_be_read_or_refused(text in "\\PC{0,60}") {
            let _ = Query::parse(&text);
        }
    }
}
