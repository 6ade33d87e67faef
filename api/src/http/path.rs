//! The patterns of paths: what stays the same, and the parts that vary.

use std::ops::Range;

/// The most variable parts of a path.
const VARIABLES_MAX: usize = 2;

/// Where the variable parts of a path lie in it; empty for those that it has not.
pub(super) type Variables = [Range<usize>; VARIABLES_MAX];

/// A path, with its variable parts.
pub(super) struct Path {
    pub(super) before: &'static str,
    /// The name of each variable part and what follows it: nothing, or a slash and more.
    variables: [Option<(&'static str, &'static str)>; VARIABLES_MAX],
}

/// A path without variable parts.
pub(super) const fn exact(path: &'static str) -> Path {
    Path { before: path, variables: [None; VARIABLES_MAX] }
}

/// A path with one variable part, of this name, between these two; what follows it is nothing, or a slash and more.
pub(super) const fn with(before: &'static str, name: &'static str, after: &'static str) -> Path {
    Path { before, variables: [Some((name, after)), None] }
}

impl Path {
    /// This path, which has one variable part, with another at its end.
    pub(super) const fn and(self, name: &'static str) -> Path {
        Path { variables: [self.variables[0], Some((name, ""))], ..self }
    }

    /// The names of the variable parts, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.variables.iter().flatten().map(|(name, _)| *name)
    }

    /// Where the variable parts lie in `path`, if this is its pattern. Each is one segment.
    pub(super) fn find(&self, path: &str) -> Option<Variables> {
        let mut found = Variables::default();
        let mut rest = path.strip_prefix(self.before)?;
        for (place, (_, after)) in found.iter_mut().zip(self.variables.iter().flatten()) {
            let start = path.len() - rest.len();
            let length = rest.find('/').unwrap_or(rest.len());
            if length == 0 {
                return None;
            }
            *place = start..start + length;
            rest = rest.get(length..)?.strip_prefix(after)?;
        }
        rest.is_empty().then_some(found)
    }

    /// The path as OpenAPI writes it.
    pub(super) fn template(&self) -> String {
        let mut template = self.before.to_owned();
        for (name, after) in self.variables.iter().flatten() {
            template.extend(["{", name, "}", after]);
        }
        template
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_part_is_one_segment() {
        let path = with("/api/channels/", "id", "/messages");
        assert_eq!(path.find("/api/channels/C1/messages"), Some([14..16, 0..0]));
        for other in [
            "/api/channels//messages",
            "/api/channels/messages",
            "/api/channels/a/b/messages",
            "/api/channels/C1/messages/",
        ] {
            assert_eq!(path.find(other), None, "{other}");
        }
        assert_eq!(with("/api/channels/", "id", "").find("/api/channels/"), None);
        assert_eq!(exact("/api/boot").find("/api/boot/"), None);
        assert_eq!(path.template(), "/api/channels/{id}/messages");
    }

    #[test]
    fn two_variable_parts_are_two_segments() {
        let path = with("/api/channels/", "id", "/members/").and("user");
        assert_eq!(path.find("/api/channels/C1/members/U23"), Some([14..16, 25..28]));
        for other in [
            "/api/channels/C1/members/",
            "/api/channels/C1/members",
            "/api/channels//members/U23",
            "/api/channels/C1/members/U23/",
            "/api/channels/C1/members/a/b",
            "/api/channels/C1/messages/U23",
            "/api/channels/members/U23",
        ] {
            assert_eq!(path.find(other), None, "{other}");
        }
        assert_eq!(path.template(), "/api/channels/{id}/members/{user}");
        assert_eq!(path.names().collect::<Vec<_>>(), ["id", "user"]);
        assert_eq!(exact("/").find("/"), Some([0..0, 0..0]));
    }
}
