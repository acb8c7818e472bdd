//! From the text of a condition to a [`Condition`]: the subset of CEL that decides about records.
//!
//! The `cel` crate parses; what it accepts beyond the subset is refused here with its place. Comparisons that cannot
//! hold for any record (a text with a number, a level with a text) are refused too: they are slips, not rules.

use cel::common::ast::operators as cel_op;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo};
use cel::parser::Parser;
use memchr::memmem::Finder;
use regex::bytes::RegexBuilder;

use super::condition::{Condition, Literal, Number, Op, Order, Set, Test};
use super::slips;
use crate::record::level::Level;
use crate::record::name::Name;

/// Longest condition: many times what a person writes, and what the parser takes a few hundred milliseconds for.
const MAX_LEN: usize = 16 << 10;

/// Deepest parentheses and lists; the parser recurses about ten times a level.
const MAX_NESTING: u16 = 64;

/// Stack for the parser: each link of a chain such as `a.b.c…` is a frame of up to 2 KiB, each parenthesis up to
/// 64 KiB, so that the worst condition within the two bounds above needs about half of it.
const STACK: usize = 64 << 20;

/// Most memory for a compiled regular expression, and again for its lazily built automaton.
const REGEX_SIZE: usize = 1 << 20;

const OPERATORS: &str = "== != < <= > >= in && || ! has(record.x) .startsWith() .endsWith() .contains() .matches()";

const NOT: &str = "write `!(…)` for not";

/// Why a condition is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Byte offset.
    pub(super) at: usize,
    /// What was found and what is accepted.
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, Mistake>;

fn mistake<T>(at: usize, message: impl Into<String>) -> Result<T> {
    Err(Mistake { at, message: message.into() })
}

/// Compiles a condition. Parsing happens on a thread with a stack of its own, so that no condition can exhaust the
/// caller's, and so that a panic of the parser is an error like others.
pub(super) fn compile(text: &str) -> Result<Condition> {
    if text.len() > MAX_LEN {
        return mistake(MAX_LEN, format!("a condition of {} bytes; at most {MAX_LEN} are accepted", text.len()));
    }
    let failed =
        |_| Mistake { at: 0, message: "the condition's parser failed on it; write it in a simpler way".into() };
    std::thread::scope(|scope| {
        let parse = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || parse(text));
        match parse {
            Ok(thread) => thread.join().map_err(failed)?,
            Err(error) => mistake(0, format!("no thread to parse conditions with: {error}")),
        }
    })
}

fn parse(text: &str) -> Result<Condition> {
    match Parser::new().max_recursion_depth(MAX_NESTING).parse_with_source_info(text) {
        Ok((expr, info)) => Compiler { info }.condition(&expr),
        Err(errors) => {
            let first = errors.errors.iter().min_by_key(|error| error.pos);
            let (pos, message) = first.map_or(((1, 1), ""), |error| (error.pos, error.msg.as_str()));
            Err(syntax_error(text, offset(text, pos), message))
        }
    }
}

/// The byte offset of a line and column that count from 1, the column in characters.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let nth = |n: isize| usize::try_from(n - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(nth(line)).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    rest.char_indices().nth(nth(column)).map_or(text.len(), |(at, _)| start + at)
}

fn syntax_error(text: &str, at: usize, message: &str) -> Mistake {
    let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').take(40).collect();
    let found = match rest.chars().next() {
        None => "the end of the condition".to_owned(),
        Some(_) if !word.is_empty() => format!("`{word}`"),
        Some(c) => format!("`{c}`"),
    };
    let message = match (word.as_str(), rest.as_bytes().first()) {
        _ if message.contains("has() macro") => {
            "has() takes a field, for example has(record.x); for an odd key write \"odd key\" in record".into()
        }
        _ if message.contains("Recursion limit") => format!("nested deeper than {MAX_NESTING}"),
        _ if message.contains("reserved identifier") => {
            format!("{found} is a word that CEL reserves; for a field of this name write record[\"{word}\"]")
        }
        _ if message.contains("invalid") && message.contains("literal") => {
            format!("{found} begins a literal that is out of range")
        }
        ("and" | "AND", _) => format!("found {found}; write && for and"),
        ("or" | "OR", _) => format!("found {found}; write || for or"),
        ("not" | "NOT", _) => format!("found {found}; {NOT}"),
        _ if slips::last_word(before).eq_ignore_ascii_case("not") => format!("found `not`; {NOT}"),
        (_, Some(b'=' | b'!' | b'~')) if slips::is_regex_operator(before, rest) => slips::regex_operator(before, rest),
        (_, Some(b',')) if slips::list_in_parentheses(before, rest).is_some() => {
            slips::list_in_parentheses(before, rest).unwrap_or_default()
        }
        (_, Some(b'=')) => "found a single `=`; write == to compare".into(),
        (_, Some(b'&')) => "found a single `&`; write && for and".into(),
        (_, Some(b'|')) => "found a single `|`; write || for or".into(),
        (_, Some(b'"' | b'\'')) => {
            let raw = slips::raw_string(before, rest);
            format!("a string that does not end, or has an escape that CEL does not know{raw}")
        }
        _ => format!("found {found}; accepted are names, literals, parentheses and {OPERATORS}"),
    };
    Mistake { at, message }
}

/// One side of a comparison.
enum Operand {
    Name(Name),
    Literal(Literal),
}

struct Compiler {
    info: SourceInfo,
}

impl Compiler {
    fn at(&self, expr: &IdedExpr) -> usize {
        self.info.offset_for(expr.id).map_or(0, |(start, _)| start as usize)
    }

    fn condition(&self, expr: &IdedExpr) -> Result<Condition> {
        let at = self.at(expr);
        match &expr.expr {
            Expr::Call(call) => self.call(expr, call),
            Expr::Select(select) if select.test => {
                let mut keys = self.keys(&select.operand)?;
                keys.push(select.field.clone());
                Ok(test(self.name(keys, at)?, Op::Has, at))
            }
            Expr::Literal(LiteralValue::Boolean(bool)) => Ok(Condition::Always(*bool.inner())),
            _ => self.bare(expr),
        }
    }

    /// A name alone is a field that must be `true`.
    fn bare(&self, expr: &IdedExpr) -> Result<Condition> {
        let at = self.at(expr);
        match self.operand(expr)? {
            Operand::Name(name @ Name::Field(_)) => Ok(test(name, Op::IsTrue, at)),
            Operand::Name(name) => mistake(at, format!("`{name}` alone is no condition; compare it with something")),
            Operand::Literal(literal) => {
                mistake(at, format!("`{literal}` alone is no condition; compare a name with it"))
            }
        }
    }

    fn call(&self, expr: &IdedExpr, call: &CallExpr) -> Result<Condition> {
        let at = self.at(expr);
        let func = call.func_name.as_str();
        if let Some(target) = &call.target {
            return self.method(at, target, func, &call.args);
        }
        match (func, call.args.as_slice()) {
            (cel_op::LOGICAL_AND | cel_op::LOGICAL_OR, [_, ..]) => {
                let mut parts = Vec::new();
                self.flatten(expr, func, &mut parts)?;
                Ok(if func == cel_op::LOGICAL_AND { Condition::And(parts) } else { Condition::Or(parts) })
            }
            (cel_op::LOGICAL_NOT, [inner]) => Ok(Condition::Not(Box::new(self.condition(inner)?))),
            (cel_op::EQUALS, [a, b]) => self.comparison(at, a, b, None, false),
            (cel_op::NOT_EQUALS, [a, b]) => self.comparison(at, a, b, None, true),
            (cel_op::LESS, [a, b]) => self.comparison(at, a, b, Some(Order::Less), false),
            (cel_op::LESS_EQUALS, [a, b]) => self.comparison(at, a, b, Some(Order::LessOrEqual), false),
            (cel_op::GREATER, [a, b]) => self.comparison(at, a, b, Some(Order::Greater), false),
            (cel_op::GREATER_EQUALS, [a, b]) => self.comparison(at, a, b, Some(Order::GreaterOrEqual), false),
            (cel_op::IN, [name, list]) => self.is_in(at, name, list),
            (cel_op::INDEX, _) => self.bare(expr),
            ("not" | "NOT", _) => mistake(at, format!("`{func}` is not accepted; {NOT}")),
            ("startsWith" | "endsWith" | "contains" | "matches", args) => mistake(at, self.as_method(func, args)),
            _ => self.refuse(expr),
        }
    }

    /// The parts of a chain of one operator; the parser makes a balanced tree of it.
    fn flatten(&self, expr: &IdedExpr, func: &str, parts: &mut Vec<Condition>) -> Result<()> {
        match &expr.expr {
            Expr::Call(call) if call.func_name == func && call.target.is_none() => {
                call.args.iter().try_for_each(|part| self.flatten(part, func, parts))
            }
            _ => {
                parts.push(self.condition(expr)?);
                Ok(())
            }
        }
    }

    fn comparison(
        &self,
        at: usize,
        a: &IdedExpr,
        b: &IdedExpr,
        order: Option<Order>,
        negated: bool,
    ) -> Result<Condition> {
        let (name, literal, order, literal_at) = match (self.operand(a)?, self.operand(b)?) {
            (Operand::Name(name), Operand::Literal(literal)) => (name, literal, order, self.at(b)),
            (Operand::Literal(literal), Operand::Name(name)) => (name, literal, order.map(Order::mirrored), self.at(a)),
            (Operand::Name(Name::Level), Operand::Name(word)) if slips::is_word(&word) => {
                return mistake(self.at(b), slips::no_level(&word));
            }
            (Operand::Name(word), Operand::Name(Name::Level)) if slips::is_word(&word) => {
                return mistake(self.at(a), slips::no_level(&word));
            }
            (Operand::Name(a), Operand::Name(b)) => {
                return mistake(at, format!("compares the names `{a}` and `{b}`; one side must be a literal"));
            }
            (Operand::Literal(a), Operand::Literal(b)) => {
                return mistake(at, format!("compares the literals {a} and {b}; one side must be a name"));
            }
        };
        check_types(&name, &literal, literal_at)?;
        let op = match order {
            None => Op::Equals(literal),
            Some(_) if matches!(literal, Literal::Bool(_)) => {
                return mistake(at, "bools have no order; compare them with == or !=");
            }
            Some(order) => Op::Order(order, literal),
        };
        Ok(Condition::Test(Test { name, slot: 0, op, negated, at }))
    }

    fn is_in(&self, at: usize, name: &IdedExpr, list: &IdedExpr) -> Result<Condition> {
        let Expr::List(list) = &list.expr else { return self.has_key(name, list) };
        let name = match self.operand(name)? {
            Operand::Name(name) => name,
            Operand::Literal(literal) => {
                return mistake(at, format!("{literal} stands before `in`; write name in [literals]"));
            }
        };
        let literal = |element: &IdedExpr| match self.operand(element)? {
            Operand::Literal(literal) => check_types(&name, &literal, self.at(element)).map(|()| literal),
            Operand::Name(word) if name == Name::Level && slips::is_word(&word) => {
                mistake(self.at(element), slips::no_level(&word))
            }
            Operand::Name(other) => {
                mistake(self.at(element), format!("the name `{other}` in a list; only literals are accepted"))
            }
        };
        let literals = list.elements.iter().map(literal).collect::<Result<_>>()?;
        Ok(test(name, Op::In(Set::new(literals)), at))
    }

    /// `"odd key" in record`: whether a map has a key, for keys that `has()` cannot spell.
    fn has_key(&self, key: &IdedExpr, map: &IdedExpr) -> Result<Condition> {
        let at = self.at(map);
        if let Expr::Literal(_) = &map.expr
            && let Ok(Operand::Literal(only)) = self.operand(map)
        {
            return mistake(at, format!("`in` takes a list; a list is written `[{only}]`"));
        }
        let (Expr::Literal(LiteralValue::String(key)), Ok(mut keys)) = (&key.expr, self.keys(map)) else {
            return mistake(at, "`in` takes a list of literals, for example x in [\"a\", \"b\"], or \"key\" in record");
        };
        keys.push(key.inner().to_owned());
        Ok(test(self.name(keys, at)?, Op::Has, at))
    }

    fn method(&self, at: usize, target: &IdedExpr, func: &str, args: &[IdedExpr]) -> Result<Condition> {
        let known = matches!(func, "startsWith" | "endsWith" | "contains" | "matches");
        if !known {
            let accepted = ".startsWith() .endsWith() .contains() .matches()";
            return mistake(at, format!("the method `{func}` is not accepted; accepted are {accepted}"));
        }
        let [argument] = args else {
            return mistake(at, format!(".{func}() takes one string, found {} arguments", args.len()));
        };
        let Expr::Literal(LiteralValue::String(text)) = &argument.expr else {
            return mistake(self.at(argument), format!(".{func}() takes a string literal"));
        };
        let name = match self.operand(target)? {
            Operand::Name(Name::Level) => {
                return mistake(
                    at,
                    format!("`level` has an order and is no text; write for example level >= WARN, not .{func}()"),
                );
            }
            Operand::Name(name) => name,
            Operand::Literal(literal) => {
                return mistake(at, format!(".{func}() of the literal {literal}; a name is accepted"));
            }
        };
        let text = text.inner();
        let op = match func {
            "startsWith" => Op::StartsWith(text.into()),
            "endsWith" => Op::EndsWith(text.into()),
            "contains" => Op::Contains(Box::new(Finder::new(text).into_owned())),
            _ => {
                let regex = RegexBuilder::new(text).size_limit(REGEX_SIZE).dfa_size_limit(REGEX_SIZE).build();
                Op::Matches(regex.or_else(|error| {
                    let error = error.to_string();
                    let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    mistake(self.at(argument), format!("{text:?} is no regular expression: {reason}"))
                })?)
            }
        };
        Ok(test(name, op, at))
    }

    /// How `contains(log, "x")` is written.
    fn as_method(&self, func: &str, args: &[IdedExpr]) -> String {
        let operand = |index: usize| args.get(index).and_then(|arg| self.operand(arg).ok());
        match (operand(0), operand(1)) {
            (Some(Operand::Name(name)), Some(Operand::Literal(text))) => {
                format!("`{func}` is a method; write `{name}.{func}({text})`")
            }
            _ => format!("`{func}` is a method; write for example `log.{func}(\"x\")`"),
        }
    }

    fn operand(&self, expr: &IdedExpr) -> Result<Operand> {
        let at = self.at(expr);
        let literal = |literal| Ok(Operand::Literal(literal));
        match &expr.expr {
            Expr::Ident(word) => match Level::ALL.into_iter().find(|level| level.as_str() == word) {
                Some(level) => literal(Literal::Level(level)),
                None => self.name(self.keys(expr)?, at).map(Operand::Name),
            },
            Expr::Select(select) if !select.test => self.name(self.keys(expr)?, at).map(Operand::Name),
            Expr::Call(call) if call.func_name == cel_op::INDEX => self.name(self.keys(expr)?, at).map(Operand::Name),
            Expr::Literal(value) => match value {
                LiteralValue::String(text) => literal(Literal::Text(text.inner().into())),
                LiteralValue::Boolean(bool) => literal(Literal::Bool(*bool.inner())),
                LiteralValue::Int(n) => literal(Literal::Number(Number::Integer(i128::from(*n.inner())))),
                LiteralValue::UInt(n) => literal(Literal::Number(Number::Integer(i128::from(*n.inner())))),
                LiteralValue::Double(n) => literal(Literal::Number(Number::Float(*n.inner()))),
                LiteralValue::Null => mistake(at, "null is not accepted; ask has(record.x) whether a field is there"),
                LiteralValue::Bytes(_) => mistake(at, "bytes are not accepted; write a string"),
            },
            Expr::Call(_) => self.condition(expr).and_then(|_| {
                mistake(at, "a condition stands where a name or a literal is accepted; compare names with literals")
            }),
            _ => self.refuse(expr),
        }
    }

    fn name(&self, keys: Vec<String>, at: usize) -> Result<Name> {
        Name::from_keys(keys).or_else(|message| mistake(at, message))
    }

    /// The keys of `a.b["c"]`.
    fn keys(&self, expr: &IdedExpr) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut expr = expr;
        loop {
            match &expr.expr {
                Expr::Ident(name) if !name.starts_with(['.', '@']) => {
                    keys.push(name.clone());
                    keys.reverse();
                    return Ok(keys);
                }
                Expr::Select(select) if !select.test => {
                    keys.push(select.field.clone());
                    expr = &select.operand;
                }
                Expr::Call(CallExpr { func_name, target: None, args }) if func_name == cel_op::INDEX => {
                    let [operand, index] = args.as_slice() else { return self.refuse(expr) };
                    let Expr::Literal(LiteralValue::String(key)) = &index.expr else {
                        return mistake(
                            self.at(index),
                            "an index that is no string; only keys are accepted: record[\"odd key\"]",
                        );
                    };
                    keys.push(key.inner().to_owned());
                    expr = operand;
                }
                _ => return self.refuse(expr),
            }
        }
    }

    /// Says what lies outside the subset.
    fn refuse<T>(&self, expr: &IdedExpr) -> Result<T> {
        let found = match &expr.expr {
            Expr::Comprehension(_) => "a comprehension (.all, .exists, .map, .filter, …)".into(),
            Expr::List(_) => "a list outside of `in`".into(),
            Expr::Map(_) | Expr::Struct(_) => "a map or message".into(),
            Expr::Ident(name) => format!("`{name}`"),
            Expr::Literal(_) => "a literal where a name is accepted".into(),
            Expr::Call(call) => match call.func_name.as_str() {
                cel_op::CONDITIONAL => "the conditional ? :".into(),
                cel_op::SUBSTRACT => "a minus (for a key with a dash write record[\"odd-key\"])".into(),
                cel_op::ADD | cel_op::MULTIPLY | cel_op::DIVIDE | cel_op::MODULO | cel_op::NEGATE => {
                    "arithmetic".into()
                }
                func => format!("`{func}`"),
            },
            Expr::Select(_) | Expr::Unspecified => "an expression".into(),
        };
        mistake(self.at(expr), format!("{found} is not accepted in a condition; accepted are {OPERATORS}"))
    }
}

fn test(name: Name, op: Op, at: usize) -> Condition {
    Condition::Test(Test { name, slot: 0, op, negated: false, at })
}

/// Refuses pairs that can never be equal. Levels are written bare, as `level >= WARN`, and compare with `level` only.
fn check_types(name: &Name, literal: &Literal, at: usize) -> Result<()> {
    match (name, literal) {
        (Name::Level, Literal::Level(_))
        | (Name::Field(_), Literal::Text(_) | Literal::Number(_) | Literal::Bool(_)) => Ok(()),
        (Name::Level, _) => mistake(
            at,
            format!(
                "`level` and {literal}; it compares with TRACE DEBUG INFO WARN ERROR FATAL, written without quotes"
            ),
        ),
        (_, Literal::Level(level)) => {
            mistake(at, format!("{level} is a level and compares with `level` only; write \"{level}\" for the text"))
        }
        (_, Literal::Text(_)) => Ok(()),
        _ => mistake(at, format!("`{name}` is text and never equals {literal}; write a string")),
    }
}
