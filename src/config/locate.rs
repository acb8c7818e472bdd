//! From an offset inside a scalar back to its place in the file: through quotes, escapes, folded lines, the indentation
//! of block scalars, and substituted variables.
//!
//! Walks the scalar as it is written beside its value. Where they cannot be brought together it answers with the
//! scalar's beginning: a position that is never wrong, only less exact.

use saphyr_parser::ScalarStyle;

use super::problem::Mark;
use super::yaml::{Content, Node, Piece};

/// The place of byte `offset` of the scalar `node` in the file's text.
pub(super) fn locate(file: &str, node: &Node, offset: usize) -> Mark {
    let Content::Scalar(scalar) = &node.content else { return node.at };
    let empty = scalar.text.len() - scalar.text.trim_start_matches('\n').len();
    walk(file, node.at, scalar.style, before_substitution(&scalar.pieces, offset), empty).unwrap_or(node.at)
}

/// The offset in the text before substitution; a place inside a variable's value is the variable.
fn before_substitution(pieces: &[Piece], offset: usize) -> usize {
    match pieces.iter().rfind(|piece| piece.out <= offset) {
        None => offset,
        Some(piece) if piece.variable => piece.before,
        Some(piece) => piece.before + (offset - piece.out),
    }
}

/// Steps through the written form until `bytes` bytes of value have gone by; `empty` lines stand before a block.
fn walk(file: &str, start: Mark, style: ScalarStyle, bytes: usize, empty: usize) -> Option<Mark> {
    let mut cursor =
        Cursor { rest: file.chars().skip(start.index).collect::<Vec<_>>().into_iter().peekable(), at: start };
    match style {
        ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => flow(&mut cursor, style, bytes),
        ScalarStyle::Literal | ScalarStyle::Folded => block(&mut cursor, bytes.saturating_sub(empty)),
    }
}

struct Cursor {
    rest: std::iter::Peekable<std::vec::IntoIter<char>>,
    at: Mark,
}

impl Cursor {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        self.at.index += 1;
        self.at.column += 1;
        if c == '\n' {
            (self.at.line, self.at.column) = (self.at.line + 1, 1);
        }
        Some(c)
    }
}

/// Plain and quoted scalars: line breaks are folded, quotes doubled or escaped.
fn flow(cursor: &mut Cursor, style: ScalarStyle, bytes: usize) -> Option<Mark> {
    if style != ScalarStyle::Plain {
        cursor.next()?;
    }
    let mut seen = 0;
    while seen < bytes {
        let c = cursor.peek()?;
        let value_len = match c {
            '\'' if style == ScalarStyle::SingleQuoted => {
                cursor.next();
                1
            }
            '\\' if style == ScalarStyle::DoubleQuoted => {
                cursor.next();
                escape(cursor)?
            }
            // A fold: one break is a space, each further one is a line break; the white space around is nothing.
            '\r' | '\n' => {
                let mut breaks = 0usize;
                while let Some(' ' | '\t' | '\r' | '\n') = cursor.peek() {
                    breaks += usize::from(cursor.next() == Some('\n'));
                }
                seen += breaks.saturating_sub(1).max(1);
                continue;
            }
            c => c.len_utf8(),
        };
        cursor.next()?;
        seen += value_len;
    }
    Some(cursor.at)
}

/// Behind a backslash: steps to the last character of the escape; bytes that it stands for.
fn escape(cursor: &mut Cursor) -> Option<usize> {
    let digits = match cursor.peek()? {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        // An escaped line break and the indentation behind it stand for nothing.
        '\n' => {
            cursor.next();
            while let Some(' ' | '\t') = cursor.peek() {
                cursor.next();
            }
            // Nothing is consumed beyond: step back is not possible, so the next character is counted here.
            return cursor.peek().map(char::len_utf8);
        }
        'N' | '_' => return Some(2),
        'L' | 'P' => return Some(3),
        _ => return Some(1),
    };
    let mut code = 0u32;
    for _ in 0..digits {
        cursor.next();
        code = code.checked_mul(16)?.checked_add(cursor.peek()?.to_digit(16)?)?;
    }
    char::from_u32(code).map(char::len_utf8)
}

/// Block scalars: lines behind a common indentation. The parser places one at the first character of its first line
/// that is not empty; the value begins with a line break for each empty line before.
fn block(cursor: &mut Cursor, bytes: usize) -> Option<Mark> {
    let indent = cursor.at.column - 1;
    let mut seen = 0;
    while seen < bytes {
        // A folded break is a space: one byte as well, save for runs of breaks, which no condition needs.
        match cursor.next()? {
            '\r' => {}
            '\n' => {
                seen += 1;
                for _ in 0..indent {
                    if cursor.peek() == Some(' ') {
                        cursor.next();
                    }
                }
            }
            c => seen += c.len_utf8(),
        }
    }
    Some(cursor.at)
}

#[cfg(test)]
mod tests {
    use super::super::{substitute::substitute, yaml};
    use super::*;

    /// The place of `!` in the value of `a`, looked up by its offset in the value.
    fn place(text: &str) -> (usize, usize) {
        let mut root = yaml::parse(text, &mut Vec::new()).expect("valid YAML");
        substitute(&mut root, "", &|name| (name == "V").then(|| "value!".to_owned()), &mut Vec::new());
        let node = &root.get("a").expect("has `a`").value;
        let at = locate(text, node, node.text().expect("a scalar").find('!').expect("a `!`"));
        (at.line, at.column)
    }

    #[test]
    fn finds_the_place_through_every_way_to_write_a_scalar() {
        for text in [
            "a: x!",
            "b: 1\na: ü == !x",
            "a: 'it''s !'",
            r#"a: "a \"b\" \u00fc \x41 \n ü!""#,
            "a: one\n   two !three\n",
            "a: \"one\n\n  two !three\"\n",
            "a: |\n  one\n  two !\n",
            "a: >-\n  one\n  two !\n",
            "b: [1,\n 2]\na: |-\n\n    one\n      !two\n",
            "a: pre ${X:-1} and !",
            "a: $${x} and !",
        ] {
            let line = text[..text.find('!').unwrap()].matches('\n').count();
            let column = text.lines().nth(line).unwrap().chars().position(|c| c == '!').unwrap();
            assert_eq!(place(text), (line + 1, column + 1), "{text}");
        }
    }

    #[test]
    fn a_place_inside_a_variable_is_the_variable() {
        assert_eq!(place("a: x ${V} y"), (1, 6));
    }
}
