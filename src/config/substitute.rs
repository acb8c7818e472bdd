//! `${VAR}` and `${VAR:-default}` in scalars, after parsing: a variable's value can never change the structure of the
//! config. `$${` is a literal `${`; a lone `$` and a template's `{field}` are left alone.

use super::problem::Problem;
use super::yaml::{Content, Node, Piece, Scalar, join_key};

/// Longest text that a scalar may become; the environment of a process is not larger.
const MAX_SCALAR: usize = 1 << 20;

/// Looks up a variable; one that is set to an empty text counts as unset for `:-`, as in a shell.
pub(super) type Vars<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Substitutes in all scalars of a tree.
pub(super) fn substitute(node: &mut Node, path: &str, vars: &Vars<'_>, problems: &mut Vec<Problem>) {
    match &mut node.content {
        Content::Scalar(scalar) => {
            for message in expand(scalar, vars) {
                problems.push(Problem { at: Some(node.at), path: path.to_owned(), message });
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                substitute(item, &format!("{path}[{index}]"), vars, problems);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                substitute(&mut entry.value, &join_key(path, &entry.key), vars, problems);
            }
        }
    }
}

/// Scalars that are one variable which is set but empty: path and variable. Taken before substitution.
pub(super) fn empty_variables(node: &Node, path: &str, vars: &Vars<'_>, found: &mut Vec<(String, String)>) {
    match &node.content {
        Content::Scalar(scalar) => {
            let name = scalar.text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            found.extend(
                name.filter(|name| vars(name).is_some_and(|value| value.is_empty()))
                    .map(|name| (path.to_owned(), name.to_owned())),
            );
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                empty_variables(item, &format!("{path}[{index}]"), vars, found);
            }
        }
        Content::Map(entries) => {
            for entry in entries {
                empty_variables(&entry.value, &join_key(path, &entry.key), vars, found);
            }
        }
    }
}

/// Replaces the variables of one scalar; what is wrong with them.
fn expand(scalar: &mut Scalar, vars: &Vars<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if !scalar.text.contains("${") {
        return wrong;
    }
    let text = std::mem::take(&mut scalar.text);
    let (mut out, mut at) = (String::new(), 0);
    while let Some(found) = text[at..].find("${") {
        let dollar = at + found;
        scalar.pieces.push(Piece { out: out.len(), before: at, variable: false });
        if text[..dollar].ends_with('$') && dollar > at {
            // `$${`: the first `$` goes away.
            out.push_str(&text[at..dollar]);
            out.push('{');
            at = dollar + 2;
            continue;
        }
        out.push_str(&text[at..dollar]);
        scalar.pieces.push(Piece { out: out.len(), before: dollar, variable: true });
        let Some(end) = text[dollar..].find('}').map(|end| dollar + end) else {
            wrong.push("`${` without its `}`; write `$${` for a literal `${`".into());
            at = dollar;
            break;
        };
        match value(&text[dollar + 2..end], vars) {
            Ok(value) => out.push_str(&value),
            Err(message) => wrong.push(message),
        }
        at = end + 1;
        if out.len() > MAX_SCALAR {
            wrong.push(format!("the text grows beyond {MAX_SCALAR} bytes"));
            break;
        }
    }
    scalar.pieces.push(Piece { out: out.len(), before: at, variable: false });
    out.push_str(&text[at..]);
    scalar.text = out;
    wrong
}

/// The value of what stands between the braces.
fn value(inside: &str, vars: &Vars<'_>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!(
            "`${{{inside}}}` is no variable; write `${{NAME}}` or `${{NAME:-default}}`, or `$${{` for a literal `${{`"
        ));
    }
    match (vars(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            Err(format!("the variable `{name}` is not set; set it, or give a default: `${{{name}:-default}}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use saphyr_parser::ScalarStyle;

    use super::*;

    fn run(text: &str) -> (String, Vec<String>) {
        let mut scalar = Scalar { text: text.into(), style: ScalarStyle::Plain, pieces: Vec::new() };
        let vars = |name: &str| match name {
            "A" => Some("apple".to_owned()),
            "EMPTY" => Some(String::new()),
            "NEST" => Some("${A}".to_owned()),
            _ => None,
        };
        let wrong = expand(&mut scalar, &vars);
        (scalar.text, wrong)
    }

    #[test]
    fn substitutes_by_this_table() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${A}", "apple"),
            ("x${A}y${A}z", "xappleyapplez"),
            ("${MISSING:-pear}", "pear"),
            ("${MISSING:-}", ""),
            ("${A:-pear}", "apple"),
            ("${EMPTY}", ""),
            ("${EMPTY:-pear}", "pear"),
            ("$${A}", "${A}"),
            ("$${A} ${A}", "${A} apple"),
            ("a$$b", "a$$b"),
            ("$A {A} $", "$A {A} $"),
            ("/ecs/{container}/${A}", "/ecs/{container}/apple"),
            // What a variable holds is data: it is not substituted again.
            ("${NEST}", "${A}"),
            ("${MISSING:-a:-b}", "a:-b"),
            ("ü${A}ü", "üappleü"),
        ] {
            assert_eq!(run(text), (expected.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn names_what_is_unset_or_malformed() {
        for (text, message) in [
            ("${MISSING}", "the variable `MISSING` is not set"),
            ("${}", "`${}` is no variable"),
            ("${1A}", "`${1A}` is no variable"),
            ("${a b}", "`${a b}` is no variable"),
            ("${A", "without its `}`"),
        ] {
            let (_, wrong) = run(text);
            assert!(wrong.len() == 1 && wrong[0].contains(message), "{text}: {wrong:?}");
        }
        assert_eq!(run("${X} ${Y}").1.len(), 2);
    }
}
