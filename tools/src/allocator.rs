//! How the C library keeps what was freed.
//!
//! glibc makes up to eight pools of memory a core and gives little of what was freed in them back. Under boots and large
//! bodies that tripled the memory of a server on two cores. It can be told otherwise only by its environment, and only at
//! the start of a process; so the process starts itself once more.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Two pools, and everything from 256 KiB on is given back as soon as it is freed. What is set already stays.
///
/// Source: mallopt(3), "Environment variables".
const SETTINGS: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "262144")];

/// Starts this program once more in the same process, with the same arguments, unless the allocator is set already. Where
/// that fails, the server only takes more memory.
pub(crate) fn settle() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        return;
    }
    let missing: Vec<_> = missing(|name| std::env::var_os(name).is_some()).collect();
    if missing.is_empty() {
        return;
    }
    // Not /proc/self/exe, after which the process would be called "exe".
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let error = Command::new(&program)
        .arg0(name.as_deref().unwrap_or(OsStr::new(env!("CARGO_PKG_NAME"))))
        .args(arguments)
        .envs(missing)
        .exec();
    tracing::debug!(%error, program = %program.display(), "the allocator keeps its defaults");
}

fn missing(is_set: impl Fn(&str) -> bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.into_iter().filter(move |(name, _)| !is_set(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_set_after_it_was_set_and_what_the_operator_set_stays() {
        assert_eq!(missing(|_| false).count(), SETTINGS.len());
        assert!(missing(|name| name == SETTINGS[0].0).eq([SETTINGS[1]]));
        assert_eq!(missing(|_| true).count(), 0, "else it would start itself for ever");
    }
}
