//! How much redaction finds and how much it takes that it should not: on a synthetic corpus that this makes, all kinds on.
//!
//! `cargo run --release -p schemas --example redaction_recall [FOLDER]`: FOLDER holds real samples, JSON or lines of it, that are
//! counted as benign text. Forms marked `-` are ones that nothing claims to find; they are planted so that what is missed
//! shows. Every value is planted in a sentence, in JSON inside a string, in Base64 and in URL encoding.
//!
//! Not for: real traffic. The corpus knows the forms that the program knows; what nobody thought of is not in it.

use std::path::Path;

use base64::Engine;
use schemas::json::{self, Json};
use schemas::keys::Keys;
use schemas::privacy::{Kind, Privacy};
use schemas::redact::Redactor;

/// Values of each form.
const EACH: usize = 100;
const HEX: &[u8] = b"0123456789abcdef";
const DIGITS: &[u8] = b"0123456789";
const WORD: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A form: the kind it is of (`-` before it: nothing claims to find it), and a pattern for [`made`].
const PLANTED: &[(&str, &str)] = &[
    ("secret by key", "{\"password\":\"%w12\"}"),
    ("secret by key", "{\"X-Api-Key\":\"%w20\"}"),
    ("secret by key", "{\"headers\":[[\"authorization\",\"Basic %w24\"]]}"),
    ("secret by form", "eyJ%w20.eyJ%w30.%w40"),
    ("secret by form", "Bearer %w32"),
    ("secret by form", "sk_live_%w24"),
    ("secret by form", "sk-%w40"),
    ("secret by form", "ghp_%w36"),
    ("secret by form", "github_pat_%w40"),
    ("secret by form", "glpat-%w20"),
    ("secret by form", "AKIA%u16"),
    ("secret by form", "xoxb-%d12-%w24"),
    ("secret by form", "AIza%w35"),
    ("secret by form", "https://app:%w12@db.example/x"),
    ("secret by form", "https://b.example/x?sig=%w40"),
    ("secret by form", "password=%w12"),
    ("secret by form", "-----BEGIN PRIVATE KEY-----%w64-----END PRIVATE KEY-----"),
    ("- other secrets", "hf_%w34"),
    ("- other secrets", "npm_%w36"),
    ("- other secrets", "SG.%w22.%w43"),
    ("- other secrets", "the password is %w12"),
    ("- other secrets", "Server=db;Uid=app;AccountKey=%w44"),
    ("card", "%c"),
    ("card", "%C"),
    ("card", "{\"pan\":%c}"),
    ("- card, odd groups", "%x"),
    ("iban", "%i"),
    ("iban", "%I"),
    ("ssn", "%s"),
    ("- ssn, bare", "%S"),
    ("mail", "%w8.%w6@mail.example.com"),
    ("- mail, spelled", "%w8 at mail dot example"),
    ("phone", "+49 30 9%d6"),
    ("phone", "+4479%d8"),
    ("phone", "(415) 55%e-%d4"),
    ("phone", "212-55%e-%d4"),
    ("- phone, national", "030 9%d6"),
    ("name by key", "{\"patient_name\":\"%w7 %w9\"}"),
    ("- name in text", "seen by %w7 %w9 today"),
];

/// Texts that look like one of these and are none.
const LOOK_ALIKES: &[(&str, &str)] = &[
    ("uuid", "%h8-%h4-4%h3-8%h3-%h12"),
    ("uuid of digits", "%d8-%d4-4%d3-8%d3-%d12"),
    ("trace id, hex", "%h32"),
    ("trace id, decimal", "%d19"),
    ("sha256", "%h64"),
    ("order number, 16", "%d16"),
    ("order number, dashes", "2026-%d3-%d2-%d4"),
    ("order number, 12", "ORD-%d12"),
    ("epoch, micros", "17%d14"),
    ("epoch, nanos", "17%d17"),
    ("timestamp", "2026-11-24T1%d1:00:00.%d6+01:00"),
    ("date and time", "2026-11-24 1%d1:12:13"),
    ("number", "0.%d16"),
    ("phone-like id", "ID %d3.%d4.%d6"),
    ("version", "1.%d2.%d3-rc.%d1"),
    ("address", "10.%d2.%d2.1:8080"),
    ("git remote", "git@host.example:%w6/%w6.git"),
    ("package", "@%w6/%w6@1.%d1.%d1"),
    ("iban-like", "DE%d20"),
    ("base64 of text", "dGhpcyBpcyBhIGhhcm1sZXNzIHNlbnRlbmNl"),
    ("page token", "page_size=%d3&cursor=%w20"),
];

/// The same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }

    fn of(&mut self, letters: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(letters[self.below(letters.len())])).collect()
    }
}

/// A text of a pattern: `%` with a letter and mostly a length. The values in it come too.
fn made(pattern: &str, numbers: &mut Numbers) -> (String, Vec<String>) {
    let (mut text, mut values) = (String::new(), Vec::new());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let digits = after[1..].bytes().take_while(u8::is_ascii_digit).count();
        let length = after[1..=digits].parse().unwrap_or(0);
        let value = match &after[..1] {
            "w" => numbers.of(WORD, length),
            "h" => numbers.of(HEX, length),
            "d" => numbers.of(DIGITS, length),
            "u" => numbers.of(UPPER, length),
            "e" => numbers.of(b"23456789", 1),
            "c" => card(numbers),
            "C" => spaced(&card(numbers), &[4, 4, 4, 4]),
            "x" => spaced(&card(numbers), &[6, 2, 8]),
            "i" => iban(numbers),
            "I" => spaced(&iban(numbers), &[4, 4, 4, 4, 4, 2]),
            "s" => format!("{}-{}-{}", 100 + numbers.below(566), 10 + numbers.below(90), 1000 + numbers.below(9000)),
            _ => format!("{}", 100_101_000 + numbers.below(500_000_000)),
        };
        text.push_str(&value);
        values.push(value);
        rest = &after[1 + digits..];
    }
    text.push_str(rest);
    (text, values)
}

fn spaced(digits: &str, groups: &[usize]) -> String {
    let mut rest = digits;
    let mut parts = Vec::new();
    for group in groups {
        let (part, after) = rest.split_at(*group);
        parts.push(part);
        rest = after;
    }
    parts.join(" ")
}

/// Sixteen digits of one of the large issuers, with the right last one.
fn card(numbers: &mut Numbers) -> String {
    let first = ["4", "51", "55", "2221", "6011", "3530"][numbers.below(6)];
    let body = format!("{first}{}", numbers.of(DIGITS, 15 - first.len()));
    let doubled = |digit: usize| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let digits = body.bytes().map(|b| usize::from(b - b'0')).enumerate();
    let sum: usize = digits.map(|(place, digit)| if place % 2 == 0 { doubled(digit) } else { digit }).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn iban(numbers: &mut Numbers) -> String {
    let account = numbers.of(DIGITS, 18);
    // D is 13, E is 14.
    let rest = format!("{account}131400").bytes().fold(0, |rest, b| (rest * 10 + usize::from(b - b'0')) % 97);
    format!("DE{:02}{account}", 98 - rest)
}

/// The ways that a text is planted in a record.
fn records(text: &str) -> [(&'static str, String); 4] {
    let quoted = |text: &str| Json::Text(text.into()).compact();
    let sentence = if text.starts_with('{') { text.to_owned() } else { format!("see {text} for it") };
    let inner = if text.starts_with('{') { text.to_owned() } else { format!("{{\"note\":{}}}", quoted(&sentence)) };
    let base64 = base64::engine::general_purpose::STANDARD.encode(text);
    let percent: String =
        text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    [
        ("as it is", if text.starts_with('{') { text.to_owned() } else { format!("{{\"note\":{}}}", quoted(&sentence)) }),
        ("JSON in a string", format!("{{\"note\":{}}}", quoted(&inner))),
        ("Base64", format!("{{\"note\":{}}}", quoted(&base64))),
        ("URL encoding", format!("{{\"note\":{}}}", quoted(&percent))),
    ]
}

/// Counts of one line of a table.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: usize,
    taken: usize,
}

fn add(table: &mut Vec<(String, Count)>, name: &str, is_taken: bool) {
    let at = table.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
        table.push((name.to_owned(), Count::default()));
        table.len() - 1
    });
    table[at].1.all += 1;
    table[at].1.taken += usize::from(is_taken);
}

fn print(title: &str, table: &[(String, Count)]) {
    println!("| {title} |\n|---|---|---|---|");
    for (name, count) in table {
        println!("| {name} | {} | {} | {:.1} % |", count.all, count.taken, 100.0 * count.taken as f64 / count.all as f64);
    }
    println!();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys = Keys::from_master(&[7; 32]);
    let kinds: Vec<String> = Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    let policy = Privacy::none().with_kinds(&kinds)?.with_names(&["patient_name".to_owned()])?;
    let default = Privacy::default();
    let redacted = |policy: &Privacy, record: &str| -> Result<(String, usize), json::JsonError> {
        let mut value = json::parse(record.as_bytes())?;
        let done = Redactor::new(&keys, "default", policy).of_record(record.as_bytes()).element(&mut value);
        Ok((value.compact(), done.count))
    };
    let mut numbers = Numbers(20_261_124);
    let (mut by_kind, mut by_way, mut benign, mut benign_by_default) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (kind, pattern) in PLANTED {
        for _ in 0..EACH {
            let (text, values) = made(pattern, &mut numbers);
            for (way, record) in records(&text) {
                let (clean, count) = redacted(&policy, &record)?;
                // A number of which only a piece is left is found; one that stays whole is not.
                let is_found = count > 0 && values.iter().all(|value| value.len() < 4 || !clean.contains(value.as_str()));
                add(&mut by_kind, kind, is_found);
                if !kind.starts_with('-') {
                    add(&mut by_way, way, is_found);
                    add(&mut by_way, &format!("{way}: {kind}"), is_found);
                }
            }
        }
    }
    for (name, pattern) in LOOK_ALIKES {
        for _ in 0..EACH * 10 {
            let (text, _) = made(pattern, &mut numbers);
            let record = &records(&text)[0].1;
            add(&mut benign, name, redacted(&policy, record)?.1 > 0);
            add(&mut benign_by_default, name, redacted(&default, record)?.1 > 0);
        }
    }
    by_way.sort_by(|a, b| a.0.cmp(&b.0));
    print("kind | planted | found | recall", &by_kind);
    print("where it stands | planted | found | recall", &by_way);
    print("look-alike, all kinds on | planted | falsely taken | share", &benign);
    print("look-alike, default policy | planted | falsely taken | share", &benign_by_default);
    match std::env::args().nth(1) {
        Some(folder) if Path::new(&folder).is_dir() => samples(Path::new(&folder), &keys),
        _ => {
            println!("SKIP samples: no folder with real samples was named");
            Ok(())
        }
    }
}

/// Real samples, each kind alone: how many of their texts and numbers are taken.
fn samples(folder: &Path, keys: &Keys) -> Result<(), Box<dyn std::error::Error>> {
    let (mut folders, mut records) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        for path in std::fs::read_dir(next)?.map(|entry| entry.map(|e| e.path())) {
            match path? {
                path if path.is_dir() => folders.push(path),
                path => {
                    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
                    let is_whole = json::parse(text.as_bytes()).is_ok();
                    let lines = text.lines().filter(|line| json::parse(line.as_bytes()).is_ok()).map(str::to_owned);
                    if is_whole { records.push(text) } else { records.extend(lines) }
                }
            }
        }
    }
    let mut values = 0;
    for record in &records {
        values += scalars(&json::parse(record.as_bytes())?);
    }
    println!("{} records of real samples with {values} texts and numbers:", records.len());
    let alone = std::iter::once((String::from("secrets"), Privacy::none()));
    let kinds = Kind::ALL.iter().map(|kind| Ok((kind.name().to_owned(), Privacy::none().with_kinds(&[kind.name().to_owned()])?)));
    let kinds: Vec<(String, Privacy)> = kinds.collect::<Result<_, schemas::privacy::PrivacyError>>()?;
    let mut secrets = 0;
    for (name, policy) in alone.chain(kinds) {
        let mut taken = 0;
        for record in &records {
            let mut value = json::parse(record.as_bytes())?;
            taken += Redactor::new(keys, "default", &policy).of_record(record.as_bytes()).element(&mut value).count;
        }
        if name == "secrets" {
            secrets = taken;
            println!("| {name} | {taken} |");
        } else {
            println!("| {name} | {} |", taken.saturating_sub(secrets));
        }
    }
    Ok(())
}

fn scalars(value: &Json<'_>) -> usize {
    match value {
        Json::Object(members) => members.iter().map(|(_, member)| scalars(member)).sum(),
        Json::Array(items) => items.iter().map(scalars).sum(),
        _ => 1,
    }
}
