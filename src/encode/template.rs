//! Templates of names and prefixes: text, `{field}` with the names that rules use, and `%Y %m %d %H %M`.
//!
//! `%%`, `{{` and `}}` stand for `%`, `{` and `}`. Anything else behind these characters is an error with its position.
//! Which values fit where the name is used is `encode::names`'s affair.

use std::fmt;

use thiserror::Error;

use super::timestamp::Parts;
use crate::record::name::Name;

const ACCEPTED: &str = "accepted are {field}, %Y, %m, %d, %H, %M, and %%, {{, }} for the characters themselves";

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Text that stands in the name as it is.
    Text {
        /// Its offset in the template.
        at: usize,
        /// The text, escapes resolved; never empty.
        text: String,
    },
    /// A value of the record.
    Field(Name),
    /// A part of its time.
    Date(DatePart),
}

/// A part of a moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatePart {
    /// `%Y`, four digits.
    Year,
    /// `%m`, two digits as the others.
    Month,
    /// `%d`
    Day,
    /// `%H`
    Hour,
    /// `%M`
    Minute,
}

/// Why a text is no template, or no template for its target.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message} at byte {at}")]
pub struct TemplateError {
    /// Offset in the text.
    pub at: usize,
    /// What was found and what is accepted.
    pub message: String,
}

impl Template {
    /// Parses it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut segments = Vec::new();
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let (segment, len) = segment(rest, at)?;
            match (segments.last_mut(), segment) {
                (Some(Segment::Text { text, .. }), Segment::Text { text: more, .. }) => text.push_str(&more),
                (_, segment) => segments.push(segment),
            }
            at += len;
        }
        Ok(Self { text: text.into(), segments })
    }

    /// Its parts in their order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of the values that it uses, in their order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Field(name) => Some(name),
            _ => None,
        })
    }

    /// The finest part of a date that it uses.
    pub fn finest(&self) -> Option<DatePart> {
        let dates = self.segments.iter().filter_map(|segment| match segment {
            Segment::Date(part) => Some(*part),
            _ => None,
        });
        dates.max()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl DatePart {
    /// Its value and how many digits it has.
    pub(super) fn of(self, parts: &Parts) -> (u32, usize) {
        match self {
            Self::Year => (parts.year.into(), 4),
            Self::Month => (parts.month.into(), 2),
            Self::Day => (parts.day.into(), 2),
            Self::Hour => (parts.hour.into(), 2),
            Self::Minute => (parts.minute.into(), 2),
        }
    }
}

/// The segment that `rest` begins with and its length in the template.
fn segment(rest: &str, at: usize) -> Result<(Segment, usize), TemplateError> {
    let text = |text: &str| Segment::Text { at, text: text.into() };
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some('%'), Some('%')) => Ok((text("%"), 2)),
        (Some('{'), Some('{')) => Ok((text("{"), 2)),
        (Some('}'), Some('}')) => Ok((text("}"), 2)),
        (Some('%'), Some(letter)) => match date_part(letter) {
            Some(part) => Ok((Segment::Date(part), 2)),
            None => Err(error(at, format!("`%{letter}` is no part of a date; {ACCEPTED}"))),
        },
        (Some('%'), None) => Err(error(at, format!("`%` stands alone; {ACCEPTED}"))),
        (Some('{'), _) => field(&rest[1..], at),
        (Some('}'), _) => Err(error(at, format!("`}}` closes nothing; {ACCEPTED}"))),
        _ => {
            let len = rest.find(['%', '{', '}']).unwrap_or(rest.len());
            Ok((text(&rest[..len]), len))
        }
    }
}

fn date_part(letter: char) -> Option<DatePart> {
    Some(match letter {
        'Y' => DatePart::Year,
        'm' => DatePart::Month,
        'd' => DatePart::Day,
        'H' => DatePart::Hour,
        'M' => DatePart::Minute,
        _ => return None,
    })
}

/// A field from behind its brace, which stands at `at`. Quoted keys (`record["a}b"]`) may hold braces.
fn field(inside: &str, at: usize) -> Result<(Segment, usize), TemplateError> {
    let (mut quoted, mut escaped) = (false, false);
    let end = inside.bytes().position(|byte| {
        let ends = byte == b'}' && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && quoted && !escaped;
        ends
    });
    let Some(end) = end else {
        return Err(error(at, format!("`{{` is not closed; {ACCEPTED}")));
    };
    if inside[..end].is_empty() {
        return Err(error(at, "`{}` names no field; write for example {container} or {log.status}".into()));
    }
    let name = Name::parse(&inside[..end]).map_err(|message| error(at + 1, message))?;
    Ok((Segment::Field(name), end + 2))
}

fn error(at: usize, message: String) -> TemplateError {
    TemplateError { at, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_template_apart() {
        let text = r#"a%%{{}}/{container}dt=%Y-%m-%d/%H%M{record["x}\"}"]}ü"#;
        let template = Template::parse(text).unwrap();
        assert_eq!(template.to_string(), text);
        let shown: Vec<String> = template
            .segments()
            .iter()
            .map(|segment| match segment {
                Segment::Text { at, text } => format!("{at}:{text}"),
                Segment::Field(name) => format!("{name:?}"),
                Segment::Date(part) => format!("{part:?}"),
            })
            .collect();
        let fields: Vec<Name> = [r"container", r#"record["x}\"}"]"#].map(|name| Name::parse(name).unwrap()).into();
        let [container, odd] = [0, 1].map(|i| format!("{:?}", fields[i]));
        let want = [
            "0:a%{}/", &container, "19:dt=", "Year", "24:-", "Month", "27:-", "Day", "30:/", "Hour", "Minute", &odd,
            "52:ü",
        ];
        assert_eq!(shown, want);
        assert!(template.names().eq(&fields));
        assert_eq!(template.finest(), Some(DatePart::Minute));
        assert_eq!(Template::parse("").unwrap().finest(), None);
    }

    #[test]
    fn says_where_a_mistake_is_and_what_is_accepted() {
        for (text, at, message) in [
            ("logs/%S", 5, "`%S` is no part of a date"),
            ("logs/%", 5, "`%` stands alone"),
            ("a{b", 1, "`{` is not closed"),
            ("a}b", 1, "`}` closes nothing"),
            ("a{}", 1, "`{}` names no field"),
            ("a%%{{{", 5, "`{` is not closed"),
            ("ü%ü", 2, "`%ü` is no part of a date"),
            ("a{b c}", 2, ""),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }
}
