//! What is no condition is refused with its place and what is accepted.

use super::*;

fn refused(condition: &str) -> (usize, String) {
    let spec = [route("fine", Some("a == 1"), &[], false), route("bad", Some(condition), &[], false)];
    let errors = Router::compile(&spec, LevelRules::default()).expect_err(condition);
    assert_eq!((errors.len(), errors[0].route), (1, 1));
    (errors[0].at, errors[0].message.clone())
}

#[test]
fn mistakes_are_named_with_their_place() {
    let cases = [
        ("", 0, "the end of the condition"),
        ("a &&", 4, "the end of the condition"),
        ("a = 1", 2, "write == to compare"),
        ("é = 1", 0, "found `é`"),
        ("\"é\" == a = 1", 10, "write == to compare"),
        ("\"é\" ==\n  a b", 12, "found `b`"),
        ("a == 1 and b", 7, "write && for and"),
        ("a == 1 or b", 7, "write || for or"),
        ("a == 1 & b", 7, "write && for and"),
        ("a == 1 | b", 7, "write || for or"),
        ("a == 'abc", 5, "a string that does not end"),
        ("a == \"\\q\"", 5, "an escape"),
        ("a == 99999999999999999999", 5, "out of range"),
        ("if == 1", 0, "write record[\"if\"]"),
        ("has(a)", 4, "has() takes a field"),
        ("has(record[\"x\"])", 10, "write \"odd key\" in record"),
        ("x.exists(y, y == 1)", 8, "a comprehension"),
        ("x.map(y, y)", 5, "a comprehension"),
        ("[1, 2].all(y, y > 1)", 10, "a comprehension"),
        ("a ? b : c", 2, "the conditional"),
        ("a + 1 == 2", 2, "arithmetic"),
        ("-a == 2", 0, "arithmetic"),
        ("k.app-name == \"x\"", 5, "record[\"odd-key\"]"),
        ("size(a) == 1", 4, "`size`"),
        ("a == {}", 5, "a map or message"),
        ("a == [1]", 5, "a list outside of `in`"),
        ("a == null", 5, "ask has(record.x)"),
        ("a == b'x'", 5, "bytes are not accepted"),
        ("a == b", 2, "the names `a` and `b`"),
        ("1 == 2", 2, "the literals 1 and 2"),
        ("(a == 1) == true", 3, "a condition stands where a name"),
        ("1 < a < 3", 2, "a condition stands where a name"),
        ("a < true", 2, "bools have no order"),
        ("a in b", 5, "a list of literals"),
        ("a in [b]", 6, "only literals are accepted"),
        ("1 in [1]", 2, "write name in [literals]"),
        ("a[0] == 1", 2, "an index that is no string"),
        ("a.size() == 1", 6, "the method `size` is not accepted"),
        ("a.contains()", 10, "takes one string, found 0"),
        ("a.contains(\"a\", \"b\")", 10, "found 2"),
        ("a.contains(b)", 11, "takes a string literal"),
        ("\"a\".contains(\"b\")", 12, "a name is accepted"),
        ("a.matches(\"(\")", 10, "no regular expression: unclosed group"),
        ("a.matches(\"\\\\w{1000}{1000}\")", 10, "no regular expression: "),
        ("\"text\"", 0, "alone is no condition"),
        ("tag", 0, "`tag` alone is no condition"),
        ("level", 0, "`level` alone is no condition"),
        ("ERROR", 0, "alone is no condition"),
        ("record == 1", 0, "`record` is the whole record"),
        ("record", 0, "`record` is the whole record"),
        ("tag.x == 1", 3, "write record.tag.x"),
        ("tag == 1", 7, "`tag` is text and never equals 1"),
        ("tag in [\"a\", 1]", 13, "`tag` is text"),
        ("level >= \"WARN\"", 9, "written without quotes"),
        ("level == 40", 9, "TRACE DEBUG INFO WARN ERROR FATAL"),
        (
            "level >= WARNING",
            9,
            "`WARNING` is no level; accepted: TRACE DEBUG INFO WARN ERROR FATAL; did you mean `WARN`?",
        ),
        ("level >= warn", 9, "`warn` is no level; accepted: TRACE DEBUG INFO WARN ERROR FATAL; did you mean `WARN`?"),
        ("Warn <= level", 0, "`Warn` is no level; accepted: TRACE DEBUG INFO WARN ERROR FATAL; did you mean `WARN`?"),
        ("level == WARNN", 9, "did you mean `WARN`?"),
        ("level == critical", 9, "did you mean `FATAL`?"),
        ("level in [ERROR, err]", 17, "did you mean `ERROR`?"),
        ("level == xyz", 9, "TRACE DEBUG INFO WARN ERROR FATAL"),
        ("level == log.level", 6, "the names `level` and `log.level`"),
        ("log =~ \"x\"", 4, "write `log.matches(\"x\")`"),
        ("a == 1 && log.path =~ '^/x'", 19, "write `log.path.matches('^/x')`"),
        ("log !~ \"x\"", 4, "write `!log.matches(\"x\")`"),
        ("log =~ x", 4, "write `log.matches(\"…\")`"),
        ("not a == 1", 4, "write `!(…)`"),
        ("not (a == 1)", 4, "write `!(…)`"),
        ("b == 1 && not a", 14, "write `!(…)`"),
        ("a in (200, 201)", 9, "a list is written `[200, 201]`"),
        ("a in (200)", 6, "a list is written `[200]`"),
        ("contains(log, \"x\")", 8, "write `log.contains(\"x\")`"),
        ("matches(log)", 7, "write for example `log.matches(\"x\")`"),
        ("log.matches(\"\\d+\")", 12, "for a regular expression write `r\"\\d+\"`"),
        ("level in [\"WARN\"]", 10, "written without quotes"),
        ("level.startsWith(\"W\")", 16, "has an order and is no text"),
        ("log.level == ERROR", 13, "write \"ERROR\" for the text"),
        (".a == 1", 1, "`.a` is not accepted"),
    ];
    let wrong: Vec<_> = cases
        .into_iter()
        .map(|(condition, at, says)| (condition, at, says, refused(condition)))
        .filter(|(_, at, says, (found, message))| found != at || !message.contains(says))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn all_routes_with_a_mistake_are_reported() {
    let spec = [route("a", Some("a ="), &[], false), route("b", None, &[], false), route("c", Some("tag"), &[], false)];
    let errors = Router::compile(&spec, LevelRules::default()).expect_err("two mistakes");
    assert_eq!(errors.iter().map(|e| e.route).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn comments_and_line_breaks_are_accepted() {
    router(&[route("r", Some("a == 1 // the first\n  && b.c == 2\n"), &[], false)]);
}

#[test]
fn conditions_are_bounded() {
    assert!(refused(&format!("a == \"{}\"", "x".repeat(20_000))).1.contains("at most 16384"));
    assert!(refused(&format!("{}a == 1{}", "(".repeat(100), ")".repeat(100))).1.contains("nested deeper than 64"));
    for chain in [".a", "[\"a\"]", "<a", "+a", ".a()", "&&a", "||!a", "?a:a", "(", "[", "{", "!", "- -a", ",", "'"] {
        let condition = format!("a{}", chain.repeat(16_000 / chain.len()));
        // Whatever the answer is, it comes, and within the caller's stack.
        let _ = Router::compile(&[route("r", Some(&condition), &[], false)], LevelRules::default());
    }
}
