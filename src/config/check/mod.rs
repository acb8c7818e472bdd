//! What no single section can know: names that must exist, addresses that must differ, conditions and templates that
//! must compile. What passes here runs.

mod dead_letters;
mod routes;
mod sinks;
mod sources;
mod spool;
mod tests_section;

pub(super) use dead_letters::dead_letters;
pub(super) use routes::routes;
pub(super) use sinks::sinks;
pub(super) use sources::{admin, sources};
pub(super) use spool::spool;
pub(super) use tests_section::tests;

use super::locate::locate;
use super::problem::{Mark, Problem, nearest};
use super::read::SECTIONS;
use super::substitute::Vars;
use super::yaml::{Entry, Node, join_key};

/// A step into the tree.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// Into a map.
    Key(&'a str),
    /// Into a list.
    Index(usize),
}

/// Where checks leave what they find.
pub(super) struct Check<'a> {
    /// The file's text.
    pub(super) text: &'a str,
    /// Its tree.
    pub(super) root: &'a Node,
    /// Environment variables.
    pub(super) vars: &'a Vars<'a>,
    /// Paths of the mistakes that were found before: what follows from them is not said again.
    pub(super) broken: Vec<String>,
    /// Mistakes.
    pub(super) problems: Vec<Problem>,
    /// What is allowed, but probably not meant.
    pub(super) warnings: Vec<String>,
}

impl Check<'_> {
    /// A mistake in the value at `path`; when a default stands for it, at the nearest key that is there.
    pub(super) fn problem(&mut self, path: &[Step<'_>], message: impl Into<String>) {
        let (at, path, _) = self.find(path);
        self.problems.push(Problem { at: Some(at), path, message: message.into() });
    }

    /// A mistake at a byte of the text at `path`.
    pub(super) fn problem_inside(&mut self, path: &[Step<'_>], offset: usize, message: impl Into<String>) {
        let (at, path, node) = self.find(path);
        let at = node.map_or(at, |node| locate(self.text, node, offset));
        self.problems.push(Problem { at: Some(at), path, message: message.into() });
    }

    /// Something allowed that is probably not meant.
    pub(super) fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }

    /// The keys of a section, whether their values could be read or not; none when the section itself is not known.
    pub(super) fn names(&self, section: &str) -> Option<Vec<String>> {
        let entries = self.root.get(section).map(|entry| entry.value.entries()).unwrap_or_default();
        let names: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        (!names.is_empty() || !self.is_lost(section)).then_some(names)
    }

    /// Names of the routes, whether these could be read or not; none when the section itself is not known.
    pub(super) fn route_names(&self) -> Option<Vec<String>> {
        let nodes = self.root.get("routes").map(|entry| entry.value.items()).unwrap_or_default();
        let name = |(index, node): (usize, &Node)| match node.get("name").and_then(|entry| entry.value.text()) {
            Some(name) => name.to_owned(),
            None => default_route_name(index),
        };
        (!nodes.is_empty() || !self.is_lost("routes")).then(|| nodes.iter().enumerate().map(name).collect())
    }

    /// Whether a section is not there because of another mistake: it is no map or list, or its name is misspelt.
    pub(super) fn is_lost(&self, section: &str) -> bool {
        let sections = SECTIONS.map(|(name, _)| name);
        let misspelt =
            |entry: &Entry| !sections.contains(&entry.key.as_str()) && nearest(&entry.key, sections) == Some(section);
        self.broken.iter().any(|path| path == section || path.is_empty()) || self.root.entries().iter().any(misspelt)
    }

    /// Whether a mistake was found before at a path or below it.
    pub(super) fn is_broken(&self, path: &str) -> bool {
        let within = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.broken.iter().any(|broken| broken.strip_prefix(path).is_some_and(within))
    }

    /// Place and path, and the node itself if it is there.
    fn find(&self, steps: &[Step<'_>]) -> (Mark, String, Option<&Node>) {
        let (mut node, mut at, mut path, mut there) = (self.root, self.root.at, String::new(), true);
        for step in steps {
            let next = match step {
                Step::Key(key) => {
                    path = join_key(&path, key);
                    node.get(key).map(|entry| (&entry.value, entry.at))
                }
                Step::Index(index) => {
                    path = format!("{path}[{index}]");
                    node.items().get(*index).map(|item| (item, item.at))
                }
            };
            match next {
                Some((next, key_at)) if there => (node, at) = (next, key_at),
                _ => there = false,
            }
        }
        // A scalar is pointed at itself, a map or list at its key.
        if there && node.text().is_some() {
            at = node.at;
        }
        (at, path, there.then_some(node))
    }

    /// Names stand in metrics, paths and commands.
    pub(super) fn name(&mut self, path: &[Step<'_>], name: &str) {
        let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if !fits || name.is_empty() || name.len() > MAX_NAME {
            let message = format!("`{name}` is no name; accepted: 1 to {MAX_NAME} letters, digits, `_`, `-` and `.`");
            self.problem(path, message);
        }
    }
}

/// What a route without a name is called.
pub(super) fn default_route_name(index: usize) -> String {
    format!("route-{}", index + 1)
}

/// Longest name of a source, route or sink: they are label values of every metric.
const MAX_NAME: usize = 64;
