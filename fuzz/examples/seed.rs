//! Writes the inputs that fuzzing begins with into `corpus/`, beside what is there: `cargo run --example seed`.

use std::path::Path;
use std::{fs, io};

/// Settings files have no writer, so these are written here.
const SETTINGS: [&str; 9] = [
    include_str!("../../docs/scrollback.toml"),
    "listen = \"127.0.0.1:1\"\n# a comment\nscrub-rate = 0x10\ntrusted-proxy = [\"10.0.0.1\", '::1']\nbody-bytes-max = 1_000\nlog-format = 'json'\n",
    "setup-token = 'a secret of some length'\n",
    "data = '''\n/srv/scroll\u{e9}'''\nheartbeat = \"15s\"\n",
    "listn = 1",
    "[serve]\nlisten = 'x'\n",
    "heartbeat = 15\nheartbeat = 16\n",
    "threads = -9223372036854775809\nsession-lifetime = inf\n",
    "json = true",
];

fn main() -> io::Result<()> {
    let settings = SETTINGS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let all = [
        scrollback_log::fuzzing::seeds(),
        scrollback_projections::fuzzing::seeds(),
        scrollback_api::fuzzing::seeds(),
        vec![("config_file", settings)],
    ];
    for (target, seeds) in all.concat() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
    }
    Ok(())
}
