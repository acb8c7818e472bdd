//! What is wrong in a config, and where: every mistake of one run, printed with the line that holds it.

use std::fmt;

use crate::terminal::harmless;

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Characters before it.
    pub index: usize,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands; none when it concerns the file as a whole.
    pub at: Option<Mark>,
    /// The key's path, such as `sinks.archive.object.size`; empty at the top.
    pub path: String,
    /// What was found, what is accepted, what to do.
    pub message: String,
}

/// All mistakes of one config, in the order of the text. Never empty when returned as an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// Name of the file, as the user gave it.
    pub file: String,
    /// The mistakes.
    pub list: Vec<Problem>,
    /// The lines that they point at, by the index of the problem.
    excerpts: Vec<Option<String>>,
}

/// Keys whose value only its owner should know: a line that names one is not printed, and no fingerprint tells it.
pub(super) const SECRET_KEYS: [&str; 3] = ["external_id", "password", "shared_key"];

/// An excerpt is cut here: a JSON one-liner in an environment variable must not fill the screen.
const EXCERPT_WIDTH: usize = 110;

impl Problems {
    /// Puts the mistakes into the order of the text, each once.
    pub fn new(file: &str, text: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.at);
        list.dedup();
        let lines: Vec<&str> = text.lines().collect();
        let line = |problem: &Problem| problem.at.and_then(|at| lines.get(at.line.checked_sub(1)?));
        let is_secret = |line: &&&str| SECRET_KEYS.iter().any(|key| line.contains(key));
        let excerpts = list
            .iter()
            .map(|problem| line(problem).filter(|line| !is_secret(line)).map(|line| line.to_string()))
            .collect();
        Self { file: file.to_owned(), list, excerpts }
    }

    /// One mistake that has no place in the text: the text could not be had.
    pub fn unreadable(file: &str, message: String) -> Self {
        Self::new(file, "", vec![Problem { at: None, path: String::new(), message }])
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (problem, excerpt) in self.list.iter().zip(&self.excerpts) {
            f.write_str("error: ")?;
            f.write_str(&self.file)?;
            if let Some(at) = problem.at {
                write!(f, ":{}:{}", at.line, at.column)?;
            }
            if !problem.path.is_empty() {
                write!(f, ": {}", harmless(&problem.path))?;
            }
            // Names and values are quoted from the config; line feeds are the message's own.
            let message: Vec<String> = problem.message.split('\n').map(harmless).collect();
            writeln!(f, ": {}", message.join("\n"))?;
            if let (Some(at), Some(line)) = (problem.at, excerpt) {
                write_excerpt(f, at, line)?;
            }
        }
        match self.list.len() {
            1 => f.write_str("1 error"),
            n => write!(f, "{n} errors"),
        }
    }
}

/// The line with a caret below the place; long lines are cut around it.
fn write_excerpt(f: &mut fmt::Formatter<'_>, at: Mark, line: &str) -> fmt::Result {
    let column = at.column.saturating_sub(1);
    let skip = if column >= EXCERPT_WIDTH { column - EXCERPT_WIDTH / 2 } else { 0 };
    // Control characters would move the caret or the terminal.
    let shown: String =
        line.chars().skip(skip).take(EXCERPT_WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
    writeln!(f, "{:>5} | {}", at.line, shown.trim_end())?;
    writeln!(f, "      | {:width$}^", "", width = column - skip)
}

/// The candidate that `found` was probably meant to be.
pub(super) fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may differ: `siez` is `size`, but `xy` is not `to`.
    let bound = (found.chars().count() / 3).max(1);
    let flat = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let found = flat(found);
    // `retention` is `retention_days`.
    let begun = |candidate: &str| found.chars().count() >= 4 && flat(candidate).starts_with(&found);
    candidates
        .into_iter()
        .map(|candidate| (distance(&found, &flat(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= bound || begun(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words, a swap of neighbours counted once (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    /// Longer texts are no typing mistakes, and the table below is quadratic.
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LONGEST).collect(), b.chars().take(LONGEST).collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let keys = ["size", "age", "to", "when", "storage_class"];
        for (found, meant) in [
            ("siez", Some("size")),
            ("Age", Some("age")),
            ("storage-class", Some("storage_class")),
            ("wehn", Some("when")),
            ("compression", None),
            ("stor", Some("storage_class")),
            ("xy", None),
        ] {
            assert_eq!(nearest(found, keys), meant, "{found}");
        }
    }

    #[test]
    fn prints_no_line_that_may_hold_a_secret() {
        let at = Some(Mark { index: 0, line: 1, column: 1 });
        let problem = Problem { at, path: "auth".into(), message: "no".into() };
        let printed = Problems::new("f", "auth: {shared_key: hunter2}\n", vec![problem]).to_string();
        assert_eq!(printed, "error: f:1:1: auth: no\n1 error");
    }

    #[test]
    fn prints_no_control_character_of_a_name() {
        let problem =
            Problem { at: None, path: "a\u{9b}".into(), message: "`all\u{1b}[31m` is no sink\nat all".into() };
        let printed = Problems::new("f", "", vec![problem]).to_string();
        assert_eq!(printed, "error: f: a\\u{9b}: `all\\u{1b}[31m` is no sink\nat all\n1 error");
    }

    #[test]
    fn prints_a_caret_below_the_place_and_cuts_long_lines() {
        let long = format!("{}x{}", " ".repeat(300), "y".repeat(300));
        let problem = |line, column| Problem {
            at: Some(Mark { index: 0, line, column }),
            path: "a.b".into(),
            message: "no".into(),
        };
        let text = format!("ab\u{1b}c: d\n{long}\n");
        let printed = Problems::new("f", &text, vec![problem(2, 301), problem(1, 7)]).to_string();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[0], "error: f:1:7: a.b: no");
        assert_eq!(lines[1], "    1 | ab c: d");
        assert_eq!(lines[2], "      |       ^");
        assert_eq!(lines[4].find('x'), lines[5].find('^'));
        assert!(lines[4].len() < 130);
        assert_eq!(lines[6], "2 errors");
    }
}
