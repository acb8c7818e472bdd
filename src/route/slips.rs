//! What people write from the habit of other languages, and how a condition says it: the texts of suggestions. Whether
//! something is a mistake is not decided here.

use crate::record::level::Level;
use crate::record::name::Name;

/// Whether a name is one word, such as a level that is misspelt.
pub(super) fn is_word(name: &Name) -> bool {
    matches!(name, Name::Field(path) if path.keys().nth(1).is_none())
}

/// What is said of a word that `level` is compared with.
pub(super) fn no_level(word: &Name) -> String {
    let accepted = Level::ALL.map(Level::as_str).join(" ");
    let meant = meant_level(&word.to_string()).map_or(String::new(), |level| format!("; did you mean `{level}`?"));
    format!("`{word}` is no level; accepted: {accepted}{meant}")
}

/// The level that a word stands for, as records write it, or that begins alike.
fn meant_level(word: &str) -> Option<Level> {
    Level::from_word(word).or_else(|| {
        let first = word.chars().next().map(|c| c.to_ascii_uppercase());
        // The first letters of the levels all differ.
        let alike = |level: &Level| {
            let name = level.as_str();
            name.len().abs_diff(word.len()) <= 2 && name.chars().next() == first
        };
        Level::ALL.into_iter().find(alike)
    })
}

/// The word that ends a text, white space behind it aside.
pub(super) fn last_word(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    text.get(start..).unwrap_or_default()
}

/// Whether `=~` or `!~` stands here.
pub(super) fn is_regex_operator(before: &str, rest: &str) -> bool {
    rest.starts_with("=~") || rest.starts_with("!~") || rest.starts_with('~') && before.ends_with(['=', '!'])
}

/// How `log =~ "x"` is written.
pub(super) fn regex_operator(before: &str, rest: &str) -> String {
    let negated = rest.starts_with('!') || rest.starts_with('~') && before.ends_with('!');
    let before = before.trim_end_matches(['=', '!']).trim_end();
    let in_name = |c: char| c.is_alphanumeric() || "_.".contains(c);
    let name = before.get(before.trim_end_matches(in_name).len()..).filter(|name| !name.is_empty()).unwrap_or("log");
    let literal = quoted(rest.trim_start_matches(['=', '!', '~']).trim_start()).unwrap_or("\"…\"");
    let (found, not) = if negated { ("!~", "!") } else { ("=~", "") };
    format!("found `{found}`; write `{not}{name}.matches({literal})`")
}

/// The quoted text that begins here, with its quotes; none if there are escaped ones in it.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let end = text.get(1..)?.find(quote)? + 2;
    text.get(..end).filter(|text| !text.contains("\\\"") && !text.contains("\\'"))
}

/// How `in (200, 201)` is written, when `rest` begins behind its first element.
pub(super) fn list_in_parentheses(before: &str, rest: &str) -> Option<String> {
    let (head, first) = before.rsplit_once('(')?;
    let (others, _) = rest.split_once(')')?;
    (last_word(head) == "in").then(|| format!("a list is written `[{}{}]`", first.trim_start(), others.trim_end()))
}

/// What is said of a string with a wrong escape that is the argument of `matches`.
pub(super) fn raw_string(before: &str, rest: &str) -> String {
    match quoted(rest) {
        Some(literal) if before.trim_end().ends_with(".matches(") => {
            format!("; for a regular expression write `r{literal}`")
        }
        _ => String::new(),
    }
}
