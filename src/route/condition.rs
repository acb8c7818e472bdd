//! Conditions as they are evaluated: comparisons of a name with literals under `&&`, `||` and `!`.
//!
//! Two-valued: a comparison with a missing field or a value of another type is false, and `!=` is exactly `!(==)`.
//! Numbers compare across integers and floats by their exact values; nothing else is coerced. Text orders by its
//! bytes, which is the order of code points.

use std::cmp::Ordering;
use std::fmt;

use memchr::memmem::Finder;
use regex::bytes::Regex;

use crate::record::level::Level;
use crate::record::name::{Found, Name};

/// A condition.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// Always so, or never.
    Always(bool),
    /// All hold.
    And(Vec<Self>),
    /// One holds.
    Or(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// A comparison.
    Test(Test),
}

/// One comparison.
#[derive(Clone, Debug)]
pub(super) struct Test {
    /// What is looked at.
    pub(super) name: Name,
    /// Which of the picked fields this is, if the name is a field; set when the plan is made.
    pub(super) slot: usize,
    /// What it is held against.
    pub(super) op: Op,
    /// `!=`: the opposite of `==`.
    pub(super) negated: bool,
    /// Byte offset in the condition, for the order of explanations.
    pub(super) at: usize,
}

/// What a value is held against.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// The field is there, whatever it holds.
    Has,
    /// It is the bool `true`: a name that stands alone.
    IsTrue,
    Equals(Literal),
    Order(Order, Literal),
    In(Set),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<Finder<'static>>),
    Matches(Regex),
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }

    /// The order that holds when the sides are exchanged.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

/// A literal of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
    /// `TRACE` … `FATAL`.
    Level(Level),
}

/// A number of either kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// By their exact values; none with NaN.
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Integer(a), Self::Float(b)) => integer_with_float(a, b),
            (Self::Float(a), Self::Integer(b)) => integer_with_float(b, a).map(Ordering::reverse),
        }
    }
}

/// Integers come from 64 bits, so that a float beyond `i128` may be taken for its bound.
fn integer_with_float(integer: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    let whole = float.trunc() as i128;
    Some(integer.cmp(&whole).then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal)))
}

impl Literal {
    /// How a value compares with this; none if it is of another type.
    fn compare(&self, found: &Found<'_>) -> Option<Ordering> {
        match (self, found) {
            (Self::Text(text), Found::Str(found)) => Some(found.as_ref().cmp(text.as_bytes())),
            (Self::Bool(bool), Found::Bool(found)) => Some(found.cmp(bool)),
            (Self::Number(number), found) => number_of(found)?.compare(*number),
            (Self::Level(level), Found::UInt(rank)) => Some(rank.cmp(&rank_of(*level))),
            _ => None,
        }
    }

    #[inline]
    fn equals(&self, found: &Found<'_>) -> bool {
        match (self, found) {
            (Self::Text(text), Found::Str(found)) => found.as_ref() == text.as_bytes(),
            _ => self.compare(found) == Some(Ordering::Equal),
        }
    }
}

fn number_of(found: &Found<'_>) -> Option<Number> {
    match found {
        Found::Int(n) => Some(Number::Integer(i128::from(*n))),
        Found::UInt(n) => Some(Number::Integer(i128::from(*n))),
        Found::Float(n) => Some(Number::Float(*n)),
        _ => None,
    }
}

fn rank_of(level: Level) -> u64 {
    level as u64
}

/// A level as the value that [`Literal::Level`] compares with.
pub(super) fn level_value(level: Level) -> Found<'static> {
    Found::UInt(rank_of(level))
}

/// The list of an `in`.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// All texts, sorted, so that a long list is searched by halving.
    texts: Box<[Box<str>]>,
    /// The others.
    others: Box<[Literal]>,
}

impl Set {
    /// A set of these literals.
    pub(super) fn new(literals: Vec<Literal>) -> Self {
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for literal in literals {
            match literal {
                Literal::Text(text) => texts.push(text),
                other => others.push(other),
            }
        }
        texts.sort_unstable();
        Self { texts: texts.into(), others: others.into() }
    }

    /// Its texts, if it has nothing else.
    pub(super) fn only_texts(&self) -> Option<&[Box<str>]> {
        self.others.is_empty().then_some(&self.texts)
    }

    fn has(&self, found: &Found<'_>) -> bool {
        match found {
            Found::Str(text) => self.texts.binary_search_by(|probe| probe.as_bytes().cmp(text)).is_ok(),
            found => self.others.iter().any(|literal| literal.equals(found)),
        }
    }
}

impl Test {
    /// Whether it holds for a value, or for a missing one.
    pub(super) fn holds(&self, found: Option<&Found<'_>>) -> bool {
        let holds = found.is_some_and(|found| match (&self.op, found) {
            (Op::Has, _) => true,
            (Op::IsTrue, found) => *found == Found::Bool(true),
            (Op::Equals(literal), found) => literal.equals(found),
            (Op::Order(order, literal), found) => literal.compare(found).is_some_and(|is| order.accepts(is)),
            (Op::In(set), found) => set.has(found),
            (Op::StartsWith(part), Found::Str(text)) => text.starts_with(part.as_bytes()),
            (Op::EndsWith(part), Found::Str(text)) => text.ends_with(part.as_bytes()),
            (Op::Contains(part), Found::Str(text)) => part.find(text).is_some(),
            (Op::Matches(regex), Found::Str(text)) => regex.is_match(text),
            _ => false,
        });
        holds != self.negated
    }

    /// Whether finding the value may mean to read JSON in a string: a path of several keys.
    pub(super) fn is_deep(&self) -> bool {
        matches!(&self.name, Name::Field(path) if path.keys().nth(1).is_some())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(Number::Integer(n)) => write!(f, "{n}"),
            Self::Number(Number::Float(n)) => write!(f, "{n:?}"),
            Self::Bool(bool) => write!(f, "{bool}"),
            Self::Level(level) => write!(f, "{level}"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.op {
            Op::Has => write!(f, "has({name})"),
            Op::IsTrue => write!(f, "{name}"),
            Op::Equals(literal) => write!(f, "{name} {} {literal}", if self.negated { "!=" } else { "==" }),
            Op::Order(order, literal) => {
                let sign = match order {
                    Order::Less => "<",
                    Order::LessOrEqual => "<=",
                    Order::Greater => ">",
                    Order::GreaterOrEqual => ">=",
                };
                write!(f, "{name} {sign} {literal}")
            }
            Op::In(set) => {
                let texts = set.texts.iter().map(|text| format!("{text:?}"));
                let all: Vec<_> = texts.chain(set.others.iter().map(Literal::to_string)).collect();
                write!(f, "{name} in [{}]", all.join(", "))
            }
            Op::StartsWith(part) => write!(f, "{name}.startsWith({part:?})"),
            Op::EndsWith(part) => write!(f, "{name}.endsWith({part:?})"),
            Op::Contains(part) => write!(f, "{name}.contains({:?})", String::from_utf8_lossy(part.needle())),
            Op::Matches(regex) => write!(f, "{name}.matches({:?})", regex.as_str()),
        }
    }
}
