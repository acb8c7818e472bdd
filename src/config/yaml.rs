//! YAML to a tree in which every key and value knows its place.
//!
//! Takes the subset that configs need: one document of maps, lists and scalars. Duplicate keys, aliases and tags are
//! reported, all of them in one run; a syntax error ends the run. Scalars stay text: what type they have is decided
//! after substitution, by whoever reads them. Bounded in length, depth and count of nodes.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::{Mark, Problem};

/// Longest text: an environment variable holds at most 128 KiB, an ECS task definition 64 KiB.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// Deepest nesting; the deepest section has 6 levels, records of tests may have more.
const MAX_DEPTH: usize = 32;
/// Most nodes; keeps the memory of a hostile text within some tens of MiB.
const MAX_NODES: usize = 100_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Unique in its tree.
    pub(super) id: usize,
    /// Where it begins.
    pub(super) at: Mark,
    /// What it is.
    pub(super) content: Content,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Text, number, bool or null: see [`Scalar`].
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map in its order, without duplicate keys.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key's text.
    pub(super) key: String,
    /// Where the key begins.
    pub(super) at: Mark,
    /// Its value.
    pub(super) value: Node,
}

/// A scalar, not typed yet.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    /// Its text, unescaped.
    pub(super) text: String,
    /// How it was written: only plain scalars may be numbers, bools or null.
    pub(super) style: ScalarStyle,
    /// Where parts of `text` come from, in order; empty when nothing was substituted.
    pub(super) pieces: Vec<Piece>,
}

/// A part of a scalar after substitution; it ends where the next one begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Offset in the text.
    pub(super) out: usize,
    /// Offset in the text before substitution.
    pub(super) before: usize,
    /// Whether this is a variable's value.
    pub(super) variable: bool,
}

impl Node {
    /// The value of a key, when this is a map.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a map; none when this is something else.
    pub(super) fn entries(&self) -> &[Entry] {
        if let Content::Map(entries) = &self.content { entries } else { &[] }
    }

    /// The items of a list; none when this is something else.
    pub(super) fn items(&self) -> &[Node] {
        if let Content::List(items) = &self.content { items } else { &[] }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        if let Content::Scalar(scalar) = &self.content { Some(&scalar.text) } else { None }
    }
}

/// Appends a key to a path.
pub(super) fn join_key(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Parses a text. Without a root when there is none to speak of; `problems` says why.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut report = |at: Option<Mark>, path: String, message: String| problems.push(Problem { at, path, message });
    if text.len() > MAX_TEXT {
        report(None, String::new(), format!("the text has {} bytes, at most {MAX_TEXT} are accepted", text.len()));
        return None;
    }
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    loop {
        let event = match parser.next_event() {
            None => break,
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                let at = mark(*error.marker());
                report(Some(at), builder.path(), syntax_message(text, at, error.info()));
                return None;
            }
        };
        match builder.event(event, &mut report) {
            Ok(()) => {}
            Err((at, message)) => {
                report(Some(at), builder.path(), message);
                return None;
            }
        }
    }
    if builder.root.is_none() {
        report(None, String::new(), "the config is empty; it needs `sources`, `routes` and `sinks`".into());
    }
    builder.root
}

fn mark(marker: saphyr_parser::Marker) -> Mark {
    Mark { index: marker.index(), line: marker.line(), column: marker.col() + 1 }
}

/// The scanner's words, and help with the mistakes that conditions and templates invite.
fn syntax_message(text: &str, at: Mark, info: &str) -> String {
    let line = |number: usize| number.checked_sub(1).and_then(|number| text.lines().nth(number));
    // The scanner often notices on the line after.
    let near = [line(at.line), line(at.line.saturating_sub(1))];
    let hint = near.into_iter().flatten().find_map(syntax_hint).unwrap_or_default();
    format!("this is no valid YAML: {info}{hint}")
}

/// What may be wrong with a line.
fn syntax_hint(line: &str) -> Option<&'static str> {
    if let Some((_, condition)) = line.split_once("when: ") {
        let condition = condition.trim();
        let quote = condition.chars().next().filter(|c| matches!(c, '"' | '\''));
        let whole = quote.is_some_and(|quote| condition.len() > 1 && condition.ends_with(quote));
        if condition.starts_with(['!', '&', '*', '@', '%', '`']) {
            return Some(QUOTE_TAG);
        }
        let inner = condition.get(1..condition.len().saturating_sub(1)).unwrap_or_default();
        let inner = inner.replace("''", "").replace("\\\"", "");
        if whole && quote.is_some_and(|quote| inner.contains(quote)) {
            return Some(
                "; the quotes around a text end at the next such quote: put the whole into single quotes and the strings \
                 in it into double ones, for example when: 'log == \"x\"'",
            );
        }
        // Between braces a condition also ends at a comma or a bracket.
        let in_braces = line.trim_start_matches([' ', '-']).starts_with('{');
        if !whole && (quote.is_some() || condition.contains(": ")) || in_braces && condition.contains('[') {
            return Some(
                "; text that holds `: ` or begins with a quote must stand in single quotes as a whole, and so must text \
                 with `,` or `[` between braces, for example when: 'log == \"a: b\"'",
            );
        }
    }
    if line.contains("${") {
        return Some("; between braces or brackets a variable must stand in quotes: {size: \"${SIZE}\"}");
    }
    let value = line.split_once(": ").map_or(line, |(_, value)| value).trim_start_matches([' ', '-']);
    // A map in braces has a `:` or a `,`, the fields of a template have none.
    let field = value.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let template = field.is_some_and(|(field, _)| !field.contains([':', ',']));
    (template || value.starts_with('%'))
        .then_some("; a text that begins with `{` or `%` must stand in quotes: \"{container}/{task_id}\"")
}

const QUOTE_TAG: &str = "; a text that begins with `!` must stand in quotes, for example when: '!has(record.x)'";

/// An open list or map.
enum Open {
    List(Mark, Vec<Node>),
    Map(Mark, Vec<Entry>, Option<(String, Mark)>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

type Report<'a> = dyn FnMut(Option<Mark>, String, String) + 'a;
type Fatal = (Mark, String);

impl Builder {
    fn event(&mut self, (event, span): (Event<'_>, Span), report: &mut Report<'_>) -> Result<(), Fatal> {
        let at = mark(span.start);
        let tagged = matches!(
            &event,
            Event::Scalar(.., Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_))
        );
        if tagged {
            report(Some(at), self.path(), format!("tags (`!name`) are not accepted{QUOTE_TAG}"));
        }
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((at, "a second document begins here; a config is one document".into()));
                }
            }
            Event::Alias(_) => {
                let message = "aliases (`*name`) are not accepted; write the value once more";
                report(Some(at), self.path(), message.into());
                self.scalar(at, String::new(), ScalarStyle::Plain, report)?;
            }
            Event::Scalar(text, style, ..) => self.scalar(at, text.into_owned(), style, report)?,
            Event::SequenceStart(..) => self.push(at, Open::List(at, Vec::new()))?,
            Event::MappingStart(..) => self.push(at, Open::Map(at, Vec::new(), None))?,
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(at, items)) => self.place(at, Content::List(items), report)?,
                Some(Open::Map(at, entries, _)) => self.place(at, Content::Map(entries), report)?,
                None => {}
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn push(&mut self, at: Mark, open: Open) -> Result<(), Fatal> {
        if let Some(Open::Map(.., None)) = self.open.last() {
            return Err((
                at,
                "a key must be text, not a list or map; a template in braces must stand in quotes".into(),
            ));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err((at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, at: Mark, text: String, style: ScalarStyle, report: &mut Report<'_>) -> Result<(), Fatal> {
        if let Some(Open::Map(_, _, key @ None)) = self.open.last_mut() {
            *key = Some((text, at));
            return Ok(());
        }
        self.place(at, Content::Scalar(Scalar { text, style, pieces: Vec::new() }), report)
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, at: Mark, content: Content, report: &mut Report<'_>) -> Result<(), Fatal> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err((at, format!("more than {MAX_NODES} values")));
        }
        let path = self.path();
        let value = Node { id: self.nodes, at, content };
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::List(_, items)) => items.push(value),
            Some(Open::Map(_, entries, key)) => {
                let Some((key, at)) = key.take() else { return Ok(()) };
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let line = first.at.line;
                    report(Some(at), path, format!("the key `{key}` stands twice, first on line {line}; keep one"));
                } else {
                    entries.push(Entry { key, at, value });
                }
            }
        }
        Ok(())
    }

    /// The path of the value that comes next.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match open {
                Open::List(_, items) => path.push_str(&format!("[{}]", items.len())),
                Open::Map(_, _, Some((key, _))) => path = join_key(&path, key),
                Open::Map(..) => {}
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<(usize, usize, String)> {
        let mut problems = Vec::new();
        parse(text, &mut problems);
        let place = |problem: Problem| {
            let at = problem.at.unwrap_or_default();
            (at.line, at.column, format!("{}: {}", problem.path, problem.message))
        };
        problems.into_iter().map(place).collect()
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let root = parse("a:\n  - b: \"c\"\n    d: [1, ü]\n", &mut Vec::new()).unwrap();
        let a = root.get("a").unwrap();
        let item = &a.value.items()[0];
        let d = item.get("d").unwrap();
        let at = |mark: Mark| (mark.line, mark.column);
        assert_eq!((at(a.at), at(item.at), at(d.at)), ((1, 1), (2, 5), (3, 5)));
        assert_eq!((at(item.get("b").unwrap().value.at), at(d.value.items()[1].at)), ((2, 8), (3, 12)));
    }

    #[test]
    fn reports_each_duplicate_key_alias_and_tag() {
        let found = problems("a: &x 1\nb: {c: 1, c: 2}\na: !!str 3\nd: *x\n");
        assert_eq!(
            found,
            [
                (2, 11, "b.c: the key `c` stands twice, first on line 2; keep one".into()),
                (3, 4, format!("a: tags (`!name`) are not accepted{QUOTE_TAG}")),
                (3, 1, "a: the key `a` stands twice, first on line 1; keep one".into()),
                (4, 4, "d: aliases (`*name`) are not accepted; write the value once more".into()),
            ]
        );
    }

    #[test]
    fn refuses_what_is_no_single_bounded_document() {
        for (text, message) in [
            ("", "the config is empty"),
            ("# nothing\n", "the config is empty"),
            ("a: 1\n---\nb: 1\n", "a second document"),
            ("? [a]\n: b\n", "a key must be text"),
            ("a: {b", "no valid YAML"),
            (&"[".repeat(40), "nested deeper than 32"),
            (&format!("[{}]", "1,".repeat(100_001)), "more than 100000 values"),
            (&" ".repeat(MAX_TEXT + 1), "at most 1048576"),
        ] {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{text:.20}: {found:?}");
            assert!(found[0].2.contains(message), "{found:?}");
        }
    }

    #[test]
    fn a_template_without_quotes_is_told_to_take_quotes() {
        let found = problems("sinks:\n  a:\n    log_stream: {container}/{task_id}\n    x: 1\n");
        assert!(found[0].2.contains("must stand in quotes"), "{found:?}");
    }

    #[test]
    fn a_syntax_error_has_the_hint_of_its_line_and_no_other() {
        const WHOLE: &str = "must stand in single quotes as a whole";
        const TAG: &str = "begins with `!` must stand in quotes";
        for (line, hint) in [
            ("- when: !has(record.x)", Some(TAG)),
            ("- when: !has(record.x) && a.b == 1", Some(TAG)),
            ("- when: log == \"a: b\"", Some(WHOLE)),
            ("- when: \"level\" >= WARN", Some(WHOLE)),
            ("- when: 'log.contains('x')'", Some("the strings in it into double ones")),
            ("- when: \"log == \"x\"\"", Some("the strings in it into double ones")),
            ("- {name: a, when: log.x in [\"a\", \"b\"], to: []}", Some(WHOLE)),
            ("- {name: {container}/x}", Some("begins with `{` or `%`")),
            ("- prefix: %Y/%m", Some("begins with `{` or `%`")),
            ("- forward: {listen: [a], ack: b", None),
            ("- a: {b: c}\n  d: \"e\" f", None),
        ] {
            let found = problems(&format!("routes:\n{line}\n  to: [a]\n"));
            let all: String = found.into_iter().map(|(_, _, message)| message).collect();
            assert!(!all.is_empty(), "{line}");
            match hint {
                Some(hint) => assert!(all.contains(hint), "{line}: {all}"),
                None => assert!(!all.contains("must stand"), "{line}: {all}"),
            }
        }
    }
}
