//! What people may type: names, passwords, message bodies.
//!
//! A [`Name`] has two forms. What is shown is what was entered, in NFC. What is compared is its case-folded NFKC form
//! without characters that show nothing, so that two names which look alike by case, composition, width or an invisible
//! joiner are one name. Both forms are made once, here, and stored: no later version of the Unicode tables can make
//! two existing names one.

use std::fmt;
use std::sync::Arc;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

/// The most characters a name may have.
pub const NAME_CHARS_MAX: usize = 64;
/// The most bytes of UTF-8 a name may have.
pub const NAME_BYTES_MAX: usize = 256;
/// The fewest characters a password may have.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// The most characters a password may have.
pub const PASSWORD_CHARS_MAX: usize = 128;
/// The most bytes of UTF-8 a message's body may have.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// NFC never makes a text shorter than a quarter of its bytes, so what is longer than this needs no look at all.
const ENTERED_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;
/// Folding settles after two or three rounds; the bound only keeps a fault in the tables from becoming a hang.
const FOLD_ROUNDS_MAX: usize = 8;

/// The name of a user or a channel, already normalised. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    shown: Arc<str>,
    folded: Arc<str>,
}

/// A text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or nothing that shows.
    #[error("a name must have at least one visible character")]
    Empty,
    /// More than [`NAME_CHARS_MAX`] characters or [`NAME_BYTES_MAX`] bytes.
    #[error("a name has at most {NAME_CHARS_MAX} characters and {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A control character or a line break.
    #[error("a name has no control characters and no line breaks")]
    Control,
    /// White space at an end, or doubled.
    #[error("a name has no white space at its ends and no doubled white space")]
    Space,
}

impl Name {
    /// Normalises and checks what was entered.
    ///
    /// ```
    /// use scrollback_api::names::Name;
    /// let name = Name::parse("Ångström")?;
    /// assert_eq!(name.folded(), Name::parse("A\u{30a}NGSTR\u{d6}M")?.folded());
    /// # Ok::<(), scrollback_api::names::NameError>(())
    /// ```
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn parse(entered: &str) -> Result<Name, NameError> {
        if entered.len() > ENTERED_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let shown: String = entered.nfc().collect();
        if shown.len() > NAME_BYTES_MAX || shown.chars().count() > NAME_CHARS_MAX {
            return Err(NameError::TooLong);
        }
        if shown.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err(NameError::Control);
        }
        let folded = fold(&shown);
        if folded.trim().is_empty() {
            return Err(NameError::Empty);
        }
        // Between two spaces, and outside of one at an end, stands an empty word.
        if shown.split(char::is_whitespace).any(str::is_empty) {
            return Err(NameError::Space);
        }
        Ok(Name { shown: shown.into(), folded: folded.into() })
    }

    /// The name as entered, in NFC.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The name as compared.
    #[must_use]
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// NFKC and case folding until neither changes anything: folding can undo the normal form and the other way round.
fn fold(shown: &str) -> String {
    let mut folded: String = shown.nfkc().collect();
    for _ in 0..FOLD_ROUNDS_MAX {
        let next: String = folded.chars().default_case_fold().filter(|c| !shows_nothing(*c)).nfkc().collect();
        if next == folded {
            break;
        }
        folded = next;
    }
    folded
}

/// Unicode's default-ignorable code points (DerivedCoreProperties of Unicode 16), which NFKC_Casefold drops too.
fn shows_nothing(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A password as it is hashed: in NFKC, so that the same keys typed on another machine are the same password.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// A text cannot be a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")]
pub struct PasswordError;

impl Password {
    /// A new password.
    ///
    /// # Errors
    /// When it has fewer than [`PASSWORD_CHARS_MIN`] or more than [`PASSWORD_CHARS_MAX`] characters.
    pub fn parse(entered: &str) -> Result<Password, PasswordError> {
        // More bytes than the longest password can have: not worth counting.
        if entered.len() > 4 * PASSWORD_CHARS_MAX {
            return Err(PasswordError);
        }
        let chars = entered.chars().count();
        if (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
            Ok(Password(entered.nfkc().collect()))
        } else {
            Err(PasswordError)
        }
    }

    /// A password that somebody claims to be theirs. One that breaks the rule is nobody's, which only the comparison
    /// says: a log-in tells nothing else.
    #[must_use]
    pub fn claimed(entered: &str) -> Password {
        Password::parse(entered).unwrap_or_else(|PasswordError| Password(String::new()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A text cannot be the body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More than [`BODY_BYTES_MAX`] bytes.
    #[error("a message has at most {BODY_BYTES_MAX} bytes of UTF-8")]
    TooLarge,
    /// Nothing but white space.
    #[error("a message must say something")]
    Blank,
    /// A control character other than tab and line feed.
    #[error("a message has no control characters other than tab and line feed")]
    Control,
}

/// Checks what was entered as the body of a message. It is stored as it is.
///
/// # Errors
/// See [`BodyError`].
pub fn check_body(body: &str) -> Result<(), BodyError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(BodyError::TooLarge);
    }
    if body.contains(|c: char| c.is_control() && c != '\t' && c != '\n') {
        return Err(BodyError::Control);
    }
    if body.trim().is_empty() {
        return Err(BodyError::Blank);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> String {
        Name::parse(text).unwrap().folded().to_owned()
    }

    #[test]
    fn names_that_differ_in_case_width_composition_or_invisible_characters_are_one() {
        for (one, other) in [
            ("Alice", "aLICE"),
            ("é", "e\u{301}"),
            ("ﬁsh", "FISH"),
            ("Ａｌｉｃｅ", "alice"),
            ("straße", "STRASSE"),
            ("al\u{200b}ice", "alice"),
            ("a\u{a0}b", "A B"),
            ("Ⅷ", "viii"),
        ] {
            assert_eq!(folded(one), folded(other), "{one:?} {other:?}");
        }
        assert_ne!(folded("alice"), folded("alicé"));
    }

    #[test]
    fn a_name_is_shown_as_entered_in_nfc() {
        assert_eq!(Name::parse("E\u{301}mile ﬁ").unwrap().shown(), "Émile ﬁ");
    }

    #[test]
    fn what_breaks_the_rule_is_not_a_name() {
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for (text, error) in [
            ("", NameError::Empty),
            ("\u{200b}\u{ad}", NameError::Empty),
            (" ", NameError::Empty),
            (&long, NameError::TooLong),
            (&"x".repeat(1 << 20), NameError::TooLong),
            ("a\nb", NameError::Control),
            ("a\0", NameError::Control),
            ("a\u{2028}b", NameError::Control),
            (" a", NameError::Space),
            ("a ", NameError::Space),
            ("a \u{a0}b", NameError::Space),
        ] {
            assert_eq!(Name::parse(text), Err(error), "{text:?}");
        }
        assert!(Name::parse(&"\u{1f600}".repeat(NAME_CHARS_MAX)).is_ok());
        assert!(Name::parse(&"e\u{301}".repeat(NAME_CHARS_MAX)).is_ok());
    }

    #[test]
    fn a_password_has_8_to_128_characters() {
        assert_eq!(Password::parse("1234567"), Err(PasswordError));
        assert!(Password::parse("12345678").is_ok());
        assert!(Password::parse(&"\u{1f600}".repeat(128)).is_ok());
        assert_eq!(Password::parse(&"x".repeat(129)), Err(PasswordError));
        assert_eq!(Password::parse(&"\u{1f600}".repeat(129)), Err(PasswordError));
        assert_eq!(Password::claimed("short").bytes(), b"");
        assert_eq!(Password::parse("caf\u{e9} au lait"), Password::parse("cafe\u{301} au lait"));
    }

    #[test]
    fn a_body_has_64_kib_something_to_say_and_no_control_characters() {
        assert_eq!(check_body("tab\tand\nline"), Ok(()));
        assert_eq!(check_body(&"x".repeat(BODY_BYTES_MAX)), Ok(()));
        assert_eq!(check_body(&"x".repeat(BODY_BYTES_MAX + 1)), Err(BodyError::TooLarge));
        assert_eq!(check_body(" \t\n\u{3000}"), Err(BodyError::Blank));
        assert_eq!(check_body(""), Err(BodyError::Blank));
        for control in ["\r", "\0", "\u{1b}", "\u{7f}", "\u{85}"] {
            assert_eq!(check_body(&format!("a{control}b")), Err(BodyError::Control));
        }
    }

    proptest! {
        #[test]
        fn both_forms_of_a_name_are_fixed_points(text in "\\PC{1,12}") {
            if let Ok(name) = Name::parse(&text) {
                let again = Name::parse(name.shown()).unwrap();
                prop_assert_eq!(again.shown(), name.shown());
                prop_assert_eq!(again.folded(), name.folded());
                prop_assert_eq!(fold(name.folded()), name.folded());
                prop_assert!(name.shown().len() <= NAME_BYTES_MAX);
            }
        }

        #[test]
        fn case_and_composition_never_make_two_names(text in "\\PC{1,12}") {
            if let Ok(name) = Name::parse(&text) {
                let apart: String = name.shown().nfd().collect();
                if let Ok(apart) = Name::parse(&apart) {
                    prop_assert_eq!(apart.folded(), name.folded());
                }
            }
        }

        #[test]
        fn no_text_makes_the_rules_panic(text in any::<String>()) {
            let _ = (Name::parse(&text), Password::parse(&text), check_body(&text));
        }
    }
}
