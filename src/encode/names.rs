//! What the targets accept as names, and how values that are data become part of them.
//!
//! A value never adds a level: path separators, control characters, what the target forbids and what is no UTF-8 become
//! `_`, and so do the dots that it begins with. A finished name never has `..` or a segment `.`, is never longer than its
//! target takes, and a log group or stream is never empty. The text of a template keeps its `/`; one at the very front
//! of a prefix goes, since objects have no empty first directory.

use super::template::{Segment, Template, TemplateError};

/// Longest value in bytes: several have room in a name, and one as a directory of the file sink with a word before it.
pub(super) const MAX_VALUE: usize = 200;
/// Longest prefix: an S3 key has 1,024 bytes at most, of which an object's own name gets 128.
const MAX_PREFIX: usize = 1_024 - 128;
/// Longest directory that file systems take.
const MAX_SEGMENT: usize = 255;
/// Longest name of a log group or stream (AWS, CreateLogGroup and CreateLogStream).
const MAX_LOG_NAME: usize = 512;

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prefix of S3 keys or a directory.
    Prefix,
    /// A log group.
    LogGroup,
    /// A log stream.
    LogStream,
}

impl Target {
    /// Whether a template's own text is accepted as part of such a name: `check` and `run` ask before they start.
    pub fn check(self, template: &Template) -> Result<(), TemplateError> {
        let error = |at: usize, message: String| Err(TemplateError { at, message });
        if template.segments().is_empty() && self != Self::Prefix {
            return error(0, format!("{} is empty; write for example {{container}}", self.noun()));
        }
        for segment in template.segments() {
            let Segment::Text { at, text } = segment else { continue };
            if let Some(bad) = text.chars().find(|c| !self.accepts(*c)) {
                return error(*at, format!("{} may not hold {bad:?}; {}", self.noun(), self.accepted()));
            }
            if *at == 0 && self == Self::LogGroup && text.starts_with("aws/") {
                return error(0, "a log group may not begin with `aws/`, which AWS keeps to itself".into());
            }
            if text.contains("..") || (self == Self::Prefix && text.split('/').any(|part| part == ".")) {
                return error(*at, format!("{} may not hold `..`, nor `.` as a directory", self.noun()));
            }
        }
        Ok(())
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Prefix => "a prefix",
            Self::LogGroup => "a log group's name",
            Self::LogStream => "a log stream's name",
        }
    }

    fn accepted(self) -> &'static str {
        match self {
            Self::Prefix => "accepted is all but control characters and backslashes",
            Self::LogGroup => "accepted are a-z, A-Z, 0-9 and . - _ / #",
            Self::LogStream => "accepted is all but control characters, `:` and `*`",
        }
    }

    /// Whether a character may stand in such a name.
    fn accepts(self, c: char) -> bool {
        match self {
            Self::Prefix => !c.is_control() && c != '\\',
            Self::LogGroup => c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#'),
            Self::LogStream => !c.is_control() && !matches!(c, ':' | '*'),
        }
    }

    /// Appends a value; returns whether something of it was replaced.
    pub(super) fn value(self, value: &[u8], name: &mut String) -> bool {
        let mut replaced = false;
        let mut leading = true;
        for chunk in value.utf8_chunks() {
            for c in chunk.valid().chars() {
                leading &= c == '.';
                let good = self.accepts(c) && !matches!(c, '/' | '\\') && !leading;
                replaced |= !good;
                name.push(if good { c } else { '_' });
            }
            if !chunk.invalid().is_empty() {
                (leading, replaced) = (false, true);
                name.push('_');
            }
        }
        replaced
    }

    /// Makes a whole name one that the target accepts; returns whether it had to be changed. What templates that have
    /// been checked and single values leave to do are dots that meet, and lengths.
    pub(super) fn finish(self, name: &mut String) -> bool {
        if self == Self::Prefix {
            let slashes = name.len() - name.trim_start_matches('/').len();
            name.drain(..slashes);
        }
        let fine = match self {
            Self::Prefix => {
                name.len() <= MAX_PREFIX && name.split('/').all(|part| part != "." && part.len() <= MAX_SEGMENT)
            }
            Self::LogGroup => (1..=MAX_LOG_NAME).contains(&name.len()) && !name.starts_with("aws/"),
            Self::LogStream => (1..=MAX_LOG_NAME).contains(&name.len()),
        };
        let fine = fine && !name.contains("..") && name.chars().all(|c| self.accepts(c));
        if !fine {
            *name = self.repaired(name);
        }
        !fine
    }

    #[cold]
    fn repaired(self, name: &str) -> String {
        let name: String = name.chars().map(|c| if self.accepts(c) { c } else { '_' }).collect();
        let name = without_double_dots(&name);
        match self {
            Self::Prefix => {
                let parts = head(&name, MAX_PREFIX).split('/').map(|part| match head(part, MAX_SEGMENT) {
                    "." => "_",
                    part => part,
                });
                parts.collect::<Vec<_>>().join("/")
            }
            Self::LogGroup | Self::LogStream if name.is_empty() => "_".into(),
            Self::LogGroup => match head(&name, MAX_LOG_NAME).strip_prefix("aws/") {
                Some(rest) => format!("aws_{rest}"),
                None => head(&name, MAX_LOG_NAME).into(),
            },
            Self::LogStream => head(&name, MAX_LOG_NAME).into(),
        }
    }
}

/// Each dot that has a neighbour becomes `_`.
fn without_double_dots(name: &str) -> String {
    let bytes = name.as_bytes();
    let beside = |i: usize| bytes.get(i).is_some_and(|&b| b == b'.');
    name.char_indices()
        .map(|(i, c)| if c == '.' && (beside(i + 1) || beside(i.wrapping_sub(1))) { '_' } else { c })
        .collect()
}

/// The longest beginning that has at most `max` bytes and ends between characters.
pub(super) fn head(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(target: Target, value: &str) -> String {
        let mut name = String::new();
        let replaced = target.value(value.as_bytes(), &mut name);
        assert_eq!(replaced, name != value, "{value:?}");
        name
    }

    #[test]
    fn values_are_data() {
        assert_eq!(value(Target::Prefix, "../../etc/passwd"), "___.._etc_passwd");
        assert_eq!(value(Target::Prefix, "a\\b\0c\u{85}d"), "a_b_c_d");
        assert_eq!(value(Target::Prefix, "röd=1 :x"), "röd=1 :x");
        assert_eq!(value(Target::LogGroup, "/ecs/app:1 ü"), "_ecs_app_1__");
        assert_eq!(value(Target::LogStream, "a:b*c/d"), "a_b_c_d");
        let mut name = String::new();
        assert!(Target::Prefix.value(b"a\xffb", &mut name));
        assert_eq!(name, "a_b");
    }

    #[test]
    fn finished_names_fit_their_target() {
        let finish = |target: Target, name: &str| {
            let mut name = name.to_owned();
            target.finish(&mut name);
            name
        };
        assert_eq!(finish(Target::Prefix, "//logs/a..b/./c"), "logs/a__b/_/c");
        assert_eq!(finish(Target::LogStream, "x...y.z"), "x___y.z");
        assert_eq!(finish(Target::Prefix, ""), "");
        assert_eq!(finish(Target::Prefix, &"ü".repeat(600)).len(), 254);
        assert_eq!(finish(Target::Prefix, &"abc/".repeat(600)).len(), MAX_PREFIX);
        assert_eq!(finish(Target::LogGroup, "aws/x"), "aws_x");
        assert_eq!(finish(Target::LogGroup, ""), "_");
        assert_eq!(finish(Target::LogStream, &"x".repeat(600)).len(), MAX_LOG_NAME);
    }

    #[test]
    fn a_template_is_checked_for_its_target() {
        let check = |target: Target, text: &str| target.check(&Template::parse(text).unwrap());
        assert_eq!(check(Target::Prefix, "/logs/service={container}/dt=%Y-%m-%d/"), Ok(()));
        assert_eq!(check(Target::LogGroup, "/ecs/{container}"), Ok(()));
        assert_eq!(check(Target::LogStream, "{container}/{task_id}"), Ok(()));
        for (target, text, at, message) in [
            (Target::LogGroup, "", 0, "is empty"),
            (Target::LogGroup, "aws/x", 0, "AWS keeps"),
            (Target::LogGroup, "{container} x", 11, "may not hold ' '"),
            (Target::LogStream, "a{tag}b:c", 6, "may not hold ':'"),
            (Target::Prefix, "a/../b", 0, "`..`"),
            (Target::Prefix, "%Y/./b", 2, "`.` as a directory"),
            (Target::Prefix, "a\\b", 0, "backslashes"),
        ] {
            let error = check(target, text).unwrap_err();
            assert!(error.at == at && error.message.contains(message), "{text}: {error}");
        }
    }
}
