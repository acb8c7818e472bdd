//! The type of a scalar: YAML 1.2's core schema, so `no` and `on` are text. Quoted scalars are always text; a plain one
//! is typed after substitution, so `size: ${N}` may be a number.

use saphyr_parser::ScalarStyle;

use super::yaml::Scalar;

/// A typed scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub(super) enum Typed<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(&'a str),
}

impl Scalar {
    /// Its type and value.
    pub(super) fn typed(&self) -> Typed<'_> {
        if self.style == ScalarStyle::Plain { self.typed_as_plain() } else { Typed::Text(&self.text) }
    }

    /// Its type if it were not quoted. In braces a variable must be quoted (`{days: "${DAYS}"}`), so where a number or
    /// bool is asked for, the quotes around a variable do not make it text.
    pub(super) fn typed_as_plain(&self) -> Typed<'_> {
        let text = self.text.as_str();
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Typed::Null,
            "true" | "True" | "TRUE" => Typed::Bool(true),
            "false" | "False" | "FALSE" => Typed::Bool(false),
            _ => number(text).unwrap_or(Typed::Text(text)),
        }
    }
}

fn number(text: &str) -> Option<Typed<'_>> {
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(int) = text.parse() {
            return Some(Typed::Int(int));
        }
        if let Ok(int) = text.parse() {
            return Some(Typed::UInt(int));
        }
    }
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            return Some(Typed::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }));
        }
        ".nan" | ".NaN" | ".NAN" => return Some(Typed::Float(f64::NAN)),
        _ => {}
    }
    // Rust also reads `inf`, `nan` and `infinity`, which YAML does not.
    let begins = unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|c: char| c.is_ascii_digit());
    if begins && unsigned.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b)) {
        return text.parse().ok().map(Typed::Float);
    }
    None
}

fn digits(text: &str, radix: u32) -> Option<Typed<'_>> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { u64::from_str_radix(text, radix).ok().map(Typed::UInt) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_plain_scalars_by_the_core_schema() {
        for (text, typed) in [
            ("", Typed::Null),
            ("~", Typed::Null),
            ("true", Typed::Bool(true)),
            ("yes", Typed::Text("yes")),
            ("off", Typed::Text("off")),
            ("12", Typed::Int(12)),
            ("-3", Typed::Int(-3)),
            ("007", Typed::Int(7)),
            ("0x1F", Typed::UInt(31)),
            ("0o17", Typed::UInt(15)),
            ("18446744073709551615", Typed::UInt(u64::MAX)),
            ("1e3", Typed::Float(1000.0)),
            (".5", Typed::Float(0.5)),
            ("-.inf", Typed::Float(f64::NEG_INFINITY)),
            ("inf", Typed::Text("inf")),
            ("1.2.3", Typed::Text("1.2.3")),
            ("127.0.0.1:9600", Typed::Text("127.0.0.1:9600")),
            ("64MiB", Typed::Text("64MiB")),
            ("5m", Typed::Text("5m")),
            ("0x+1", Typed::Text("0x+1")),
            ("2026-11-22", Typed::Text("2026-11-22")),
        ] {
            let scalar = Scalar { text: text.into(), style: ScalarStyle::Plain, pieces: Vec::new() };
            assert_eq!(scalar.typed(), typed, "{text}");
        }
    }

    #[test]
    fn quoted_scalars_are_text() {
        for style in [ScalarStyle::SingleQuoted, ScalarStyle::DoubleQuoted, ScalarStyle::Literal] {
            let scalar = Scalar { text: "12".into(), style, pieces: Vec::new() };
            assert_eq!(scalar.typed(), Typed::Text("12"));
        }
    }
}
