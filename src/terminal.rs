//! Text from elsewhere (records, configs) that is printed for people: it does nothing to a terminal and stays on its line.

/// The text with control characters, and the marks that turn the direction of what stands behind them, as escapes.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_and_all_else_stays() {
        assert_eq!(
            harmless("a\u{1b}[31m\r\n\t\u{9b}\u{202e}\u{2069}\u{7f}"),
            r"a\u{1b}[31m\r\n\t\u{9b}\u{202e}\u{2069}\u{7f}"
        );
        let text = r#"{"log":"ü 日本 \" \\ नी"}"#;
        assert_eq!(harmless(text), text);
    }
}
