//! The token that the first user must bring when the server listens to more than its own machine: whoever can read the
//! server's output may set it up, and not whoever comes first.

use subtle::ConstantTimeEq;

/// How many random bytes it has.
const TOKEN_BYTES: usize = 16;

/// Drawn at every start before the set-up.
pub(super) struct SetupToken(String);

impl SetupToken {
    pub(super) fn draw() -> SetupToken {
        let bytes: [u8; TOKEN_BYTES] = rand::random();
        SetupToken(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(super) fn show(&self) -> &str {
        &self.0
    }

    /// Whether `given` is it, in a time that says nothing of how much of it is right.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_it() {
        let token = SetupToken::draw();
        let shown = String::from(token.show());
        assert!(token.is(&shown));
        assert_eq!(token.show().len(), 2 * TOKEN_BYTES);
        assert!(!token.is("") && !token.is(&token.show()[1..]) && !token.is(SetupToken::draw().show()));
    }
}
