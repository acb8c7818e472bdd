//! The vocabulary that all payloads draw from: words, messages, names and numbers, by frequencies as real ones have.

use std::fmt::Write;

/// Slots of a Zipf table: enough that rank 500 still has one.
const SLOTS: usize = 1 << 14;

const MESSAGES: usize = 160;

/// Words that logs are made of, the common first.
const COMMON: &str = "request user order session cache payment for to with from in failed completed started connection \
    timeout response service item customer the is not was after retry client server token job queue message event account \
    invalid found updated created deleted loading loaded processing processed received sent sending handler worker batch \
    record index key value status state type version upload download file path config database query transaction \
    rollback commit lock acquired released pool thread task scheduled expired refresh login logout password reset email \
    notification template rendering webhook callback delivery shipment inventory stock warehouse price discount coupon \
    cart checkout invoice refund charge card gateway provider currency exchange rate limit exceeded throttled quota plan \
    subscription renewal trial cancelled upgrade feature flag enabled disabled rollout experiment variant metric report \
    export import csv rows columns schema migration applied skipped pending running stopped health check ready live probe \
    cluster node leader follower election replica shard partition offset consumer producer topic lag rebalance assigned \
    revoked snapshot restored backup archive bucket object region zone instance container image deploy build release";

/// Syllables of the rest: names that only one company uses.
const SYLLABLES: [&str; 24] = [
    "ar", "bel", "cor", "dan", "el", "fir", "gal", "hu", "in", "jor", "kel", "lum", "mo", "nar", "ol", "pra", "quo",
    "ri", "sel", "tor", "ul", "ver", "wex", "zan",
];

/// A choice by Zipf's law: entry `n` as often as `1 / (n + 1)`.
pub(crate) struct Zipf(Vec<u16>);

impl Zipf {
    pub(crate) fn new(len: usize) -> Self {
        let total: f64 = (1..=len).map(|rank| 1.0 / rank as f64).sum();
        let slots = |rank: usize| (SLOTS as f64 / (rank as f64 * total)).ceil() as usize;
        Self((0..len).flat_map(|n| std::iter::repeat_n(n as u16, slots(n + 1))).collect())
    }

    pub(crate) fn pick(&self, rng: &mut fastrand::Rng) -> usize {
        usize::from(self.0[rng.usize(..self.0.len())])
    }
}

/// A pool of names with the law that they are drawn by.
pub(crate) struct Pool {
    names: Vec<String>,
    zipf: Zipf,
}

impl Pool {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { zipf: Zipf::new(names.len()), names }
    }

    pub(crate) fn pick(&self, rng: &mut fastrand::Rng) -> &str {
        &self.names[self.zipf.pick(rng)]
    }
}

/// A piece of a message.
enum Piece {
    Text(String),
    Number,
    Hex,
    User,
    Word,
    Millis,
}

/// Everything that a line is made of.
pub(crate) struct Words {
    pub(crate) rng: fastrand::Rng,
    words: Pool,
    messages: Vec<Vec<Piece>>,
    message_law: Zipf,
    pub(crate) clients: Pool,
    pub(crate) paths: Pool,
    pub(crate) loggers: Pool,
    pub(crate) agents: Pool,
    users: Zipf,
    /// Microseconds since midnight.
    time: u64,
}

impl Words {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut names: Vec<String> = COMMON.split_whitespace().map(Into::into).collect();
        while names.len() < 500 {
            names.push((0..rng.usize(2..4)).map(|_| SYLLABLES[rng.usize(..SYLLABLES.len())]).collect());
        }
        let words = Pool::new(names);
        let messages = (0..MESSAGES).map(|_| template(&mut rng, &words)).collect();
        let client =
            |rng: &mut fastrand::Rng| format!("{}.{}.{}.{}", rng.u8(3..220), rng.u8(..), rng.u8(..), rng.u8(1..));
        let clients = Pool::new((0..4000).map(|_| client(&mut rng)).collect());
        let mut path = String::new();
        let paths = (0..60).map(|_| {
            path.clear();
            for _ in 0..rng.usize(1..5) {
                let _ = write!(path, "/{}", words.pick(&mut rng));
            }
            path.clone()
        });
        let paths = Pool::new(paths.collect());
        let loggers = (0..48).map(|_| {
            let class: String = (0..2).map(|_| capitalised(words.pick(&mut rng))).collect();
            format!(
                "com.example.{}.{class}{}",
                words.pick(&mut rng),
                ["Service", "Handler", "Client", "Job"][rng.usize(..4)]
            )
        });
        let loggers = Pool::new(loggers.collect());
        let agents = Pool::new((0..60).map(|_| agent(&mut rng)).collect());
        Self {
            message_law: Zipf::new(MESSAGES),
            users: Zipf::new(8000),
            time: 36_000_000_000,
            rng,
            words,
            messages,
            clients,
            paths,
            loggers,
            agents,
        }
    }

    /// A step on the clock of the log.
    pub(crate) fn tick(&mut self) {
        self.time = (self.time + self.rng.u64(20..1800)) % 86_400_000_000;
    }

    /// Hours, minutes, seconds, microseconds.
    pub(crate) fn time(&self) -> (u64, u64, u64, u64) {
        let seconds = self.time / 1_000_000;
        (seconds / 3600, seconds / 60 % 60, seconds % 60, self.time % 1_000_000)
    }

    pub(crate) fn word(&mut self) -> &str {
        self.words.pick(&mut self.rng)
    }

    /// A message of the application, without quotes or backslashes.
    pub(crate) fn message(&mut self, out: &mut String) {
        let rng = &mut self.rng;
        for piece in &self.messages[self.message_law.pick(rng)] {
            // Writing into a string cannot fail.
            let _ = match piece {
                Piece::Text(text) => write!(out, "{text}"),
                Piece::Number => write!(out, "{}", rng.u32(..) >> rng.u32(8..30)),
                Piece::Hex => write!(out, "{:016x}", rng.u64(..)),
                Piece::User => write!(out, "u{}", 100_000 + self.users.pick(rng) * 37),
                Piece::Word => write!(out, "{}", self.words.pick(rng)),
                Piece::Millis => write!(out, "{}ms", long_tailed(rng)),
            };
        }
    }

    pub(crate) fn user(&mut self) -> usize {
        100_000 + self.users.pick(&mut self.rng) * 37
    }

    /// Milliseconds that something took: mostly few, sometimes very many.
    pub(crate) fn millis(&mut self) -> u64 {
        long_tailed(&mut self.rng)
    }

    /// A path of the service, most with an id in it.
    pub(crate) fn path(&mut self, out: &mut String) {
        out.push_str(self.paths.pick(&mut self.rng));
        if self.rng.u8(..) < 150 {
            let _ = write!(out, "/{}", self.rng.u32(1000..2_000_000));
        }
    }

    pub(crate) fn method(&mut self) -> &'static str {
        ["GET", "GET", "GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD"][self.rng.usize(..10)]
    }

    /// A status of an answer; an alert's is one of the server's errors.
    pub(crate) fn status(&mut self, alert: bool) -> u16 {
        const FINE: [u16; 16] = [200, 200, 200, 200, 200, 200, 200, 200, 200, 201, 204, 301, 304, 304, 404, 401];
        if alert { [500, 502, 503, 504][self.rng.usize(..4)] } else { FINE[self.rng.usize(..16)] }
    }
}

fn template(rng: &mut fastrand::Rng, words: &Pool) -> Vec<Piece> {
    let mut pieces = vec![Piece::Text(capitalised(words.pick(rng)))];
    for _ in 0..rng.usize(3..14) {
        let word = words.pick(rng);
        let (text, slot) = match rng.u8(..20) {
            0..=1 => (format!(" {word}="), Some(Piece::Number)),
            2 => (format!(" {word}="), Some(Piece::Hex)),
            3 => (" user ".into(), Some(Piece::User)),
            4 => (" ".into(), Some(Piece::Word)),
            5 => (" in ".into(), Some(Piece::Millis)),
            6 => (format!(" {word},"), None),
            _ => (format!(" {word}"), None),
        };
        pieces.push(Piece::Text(text));
        pieces.extend(slot);
    }
    pieces
}

fn long_tailed(rng: &mut fastrand::Rng) -> u64 {
    (2.0 / (1.0 - rng.f64()).powf(0.9)).min(60_000.0) as u64
}

pub(crate) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

fn agent(rng: &mut fastrand::Rng) -> String {
    let system =
        ["Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux x86_64", "Linux; Android 14"];
    let (system, major) = (system[rng.usize(..4)], rng.u8(98..131));
    match rng.u8(..4) {
        0 => format!("Mozilla/5.0 ({system}; rv:{major}.0) Gecko/20100101 Firefox/{major}.0"),
        1 => format!("okhttp/4.{}.{}", rng.u8(..13), rng.u8(..4)),
        _ => format!(
            "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{}.0 Safari/537.36",
            rng.u16(4000..6800)
        ),
    }
}
