//! Bits flipped and files cut short in a stopped data directory. Whatever was hit, either `verify` or the start says so,
//! or nothing that is still alive was hit and every answer is what it was, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::client::{Client, text};
use crate::support::count;
use crate::support::files;
use crate::support::random::Random;
use crate::support::server::{Ended, Server};

/// What is said of damage found.
const EXIT_DAMAGE: i32 = 3;

/// A stopped server, what it answered, and the token to ask again with.
struct Sample {
    server: Server,
    token: String,
    channel: String,
    answers: Vec<String>,
}

impl Sample {
    fn new() -> Self {
        let (mut server, mut owner) = Server::set_up(&[]);
        let channel = owner.create_channel("general");
        let token = owner.token("auditor");
        let mut random = Random::new(0xF6);
        for n in 0..300 {
            let length = random.below(300) as usize;
            let said = owner.say(&channel, &format!("{n} {}.", random.words(length)));
            if n % 10 == 0 {
                owner.delete(&format!("/api/messages/{}", text(&said, "id"))).ok(200);
            }
        }
        // A second run, so that there is a tail behind the checkpoint.
        server.restart();
        for n in 0..20 {
            owner.say(&channel, &format!("of the second run {n}"));
        }
        let answers = answers(&mut owner, &channel).expect("an undamaged server answers");
        server.kill9();
        Self { server, token, channel, answers }
    }

    /// What became of a damaged copy.
    fn judge(&self, copy: &Path, hit: &str) -> Verdict {
        let mut server = Server::on(copy, &[]);
        let verified = server.operate("verify", &[]);
        if verified.code == Some(EXIT_DAMAGE) {
            assert_says_where(&verified, hit);
            return Verdict::Found;
        }
        assert_eq!(verified.code, Some(0), "{hit}: {verified:?}");
        if let Err(ended) = server.try_start() {
            assert_eq!(ended.code, Some(EXIT_DAMAGE), "{hit}: {ended:?}");
            assert_says_where(&ended, hit);
            return Verdict::Found;
        }
        let mut auditor = server.client().with_token(&self.token);
        let answers = answers(&mut auditor, &self.channel);
        assert!(answers.as_ref() == Some(&self.answers), "{hit}: damage that nobody reported is served");
        Verdict::Harmless
    }
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Found,
    Harmless,
}

/// Every answer that shows what the log holds; none when one of them says that the log is damaged.
fn answers(client: &mut Client, channel: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for path in [
        "/api/boot?messages=500",
        "/api/channels",
        "/api/users",
        &format!("/api/channels/{channel}/messages?limit=500"),
        "/api/events/poll?after=0&limit=500",
    ] {
        let response = client.get(path);
        if response.status == 500 {
            response.refused_as(500, "log_damaged");
            return None;
        }
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        all.push(response.text());
    }
    Some(all)
}

#[track_caller]
fn assert_says_where(ended: &Ended, hit: &str) {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!said.contains("panicked"), "{hit}: {said}");
    assert!(!said.trim().is_empty(), "{hit}: damage without a word");
}

/// A file to hit: half of the time any, half of the time the larger the likelier.
fn choose(files: &[PathBuf], random: &mut Random) -> PathBuf {
    let sizes: Vec<u64> = files.iter().map(|file| fs::metadata(file).unwrap().len()).collect();
    if random.one_in(2) {
        return files[random.below(files.len() as u64) as usize].clone();
    }
    let mut place = random.below(sizes.iter().sum());
    for (file, size) in files.iter().zip(sizes) {
        if place < size {
            return file.clone();
        }
        place -= size;
    }
    unreachable!("the place is below the sum of the sizes")
}

/// Damages copies of one sample, each in its own way, and counts what was found.
fn damage_many(
    trials: usize,
    salt: u64,
    mut damage: impl FnMut(&Path, &mut Random) -> String,
) -> (usize, usize) {
    let sample = Sample::new();
    let mut random = Random::new(salt);
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..trials {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("data");
        files::copy(sample.server.data(), &copy);
        let victims: Vec<PathBuf> =
            files::all(&copy).into_iter().filter(|file| fs::metadata(file).unwrap().len() > 0).collect();
        let hit = damage(&choose(&victims, &mut random), &mut random);
        match sample.judge(&copy, &hit) {
            Verdict::Found => found += 1,
            Verdict::Harmless => harmless += 1,
        }
    }
    eprintln!("{trials} trials: {found} found, {harmless} harmless");
    (found, harmless)
}

#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let trials = count("SCROLLBACK_F6_FLIPS", 20);
    let (found, _) = damage_many(trials, 0xF11B, |file, random| {
        let mut bytes = fs::read(file).unwrap();
        let (place, bit) = (random.below(bytes.len() as u64) as usize, random.below(8));
        bytes[place] ^= 1 << bit;
        fs::write(file, bytes).unwrap();
        format!("bit {bit} of byte {place} of {}", file.display())
    });
    assert!(found > 0, "no flip was ever noticed");
}

#[test]
fn a_file_cut_short_is_found_or_harmless() {
    let trials = count("SCROLLBACK_F6_CUTS", 10);
    let (found, _) = damage_many(trials, 0xC07, |file, random| {
        let length = fs::metadata(file).unwrap().len();
        let left = random.below(length);
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(left).unwrap();
        format!("{} cut from {length} to {left} bytes", file.display())
    });
    assert!(found > 0, "no cut was ever noticed");
}

/// Flips aimed at what is certainly alive: the texts of messages. Each must be found, by name.
#[test]
fn damage_to_a_live_text_is_always_found() {
    let (mut server, mut owner) = Server::set_up(&[]);
    let channel = owner.create_channel("general");
    let texts: Vec<String> =
        (0..40).map(|n| format!("a live text, number {n:03}, of which no other copy is")).collect();
    for text in &texts {
        owner.say(&channel, text);
    }
    let token = owner.token("auditor");
    server.stop();
    let log = files::current_log(server.data());
    let mut random = Random::new(0x11FE);
    let (mut hit, trials) = (0, count("SCROLLBACK_F6_LIVE", 10));
    for _ in 0..trials {
        let text = &texts[random.below(texts.len() as u64) as usize];
        // What is said in a text's middle is in the file as it was said, unless the file is packed: then any byte will do.
        let needle = &text.as_bytes()[12..27];
        let Some(file) = files::find(&log, needle) else { continue };
        let whole = fs::read(&file).unwrap();
        let place = files::position(&whole, needle).unwrap() + random.below(needle.len() as u64) as usize;
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << random.below(8);
        fs::write(&file, &damaged).unwrap();
        let verified = server.operate("verify", &[]);
        verified.must_exit(EXIT_DAMAGE);
        let said = format!("{}{}", verified.stdout, verified.stderr);
        assert!(said.chars().any(|c| c.is_ascii_digit()), "the offset is not named: {said}");
        if server.try_start().is_ok() {
            let mut auditor = server.client().with_token(&token);
            let poll = auditor.get("/api/events/poll?after=0&limit=500");
            let page = auditor.get(&format!("/api/channels/{channel}/messages?limit=500"));
            for response in [poll, page] {
                response.refused_as(500, "log_damaged");
            }
            server.kill9();
        }
        fs::write(&file, &whole).unwrap();
        hit += 1;
    }
    assert_eq!(hit, trials, "the texts were not found in the log's files");
    server.operate("verify", &[]).must_exit(0);
    server.start();
    assert_eq!(server.client().with_token(&token).history(&channel, 500).len(), texts.len());
}

#[test]
fn a_log_full_of_noise_is_refused_without_a_crash() {
    let sample = Sample::new();
    let mut random = Random::new(0x0153);
    let log = files::current_log(sample.server.data());
    for victim in files::all(&log) {
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("data");
        files::copy(sample.server.data(), &copy);
        let target = copy.join(victim.strip_prefix(sample.server.data()).unwrap());
        let length = fs::metadata(&target).unwrap().len();
        fs::write(&target, (0..length).map(|_| random.next() as u8).collect::<Vec<u8>>()).unwrap();
        sample.judge(&copy, &format!("{} overwritten", victim.display()));
    }
    assert_eq!(json!(sample.answers.len()), json!(5));
}
