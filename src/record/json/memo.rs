//! What the text of `log` was found to be: rules and every sink's encoder look at the same text, which is validated
//! once.

use std::cell::Cell;
use std::ops::Range;

use super::{Object, Outline};

/// Remembers of one record's bytes where a text lies that was looked at, and whether it is a JSON object.
#[derive(Clone, Debug, Default)]
pub struct Memo(Cell<Option<Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    text: At,
    object: Option<(At, bool)>,
}

/// A place in the record's bytes; addresses, since these do not move while the record is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    start: usize,
    len: usize,
}

impl At {
    fn of(text: &[u8]) -> Self {
        Self { start: text.as_ptr() as usize, len: text.len() }
    }

    /// The same place as a range of the text that it is a part of.
    fn within(self, text: Self) -> Range<usize> {
        let start = self.start - text.start;
        start..start + self.len
    }
}

impl Memo {
    /// As [`Outline::read`], for a text of the record that this is the memo of; `outline` is filled only if the text was
    /// not known.
    pub fn parse<'a>(&self, text: &'a [u8], outline: &mut Outline) -> Option<Object<'a>> {
        let at = At::of(text);
        match self.0.get().filter(|known| known.text == at) {
            Some(known) => {
                let (object, one_line) = known.object?;
                Some(Object { text: text.get(object.within(at))?, one_line })
            }
            None => self.read(text, outline),
        }
    }

    /// The same for whoever wants the members.
    pub fn read<'a>(&self, text: &'a [u8], outline: &mut Outline) -> Option<Object<'a>> {
        self.note(At::of(text), outline.read(text))
    }

    fn note<'a>(&self, text: At, object: Option<Object<'a>>) -> Option<Object<'a>> {
        let found = object.map(|object| (At::of(object.text), object.one_line));
        self.0.set(Some(Known { text, object: found }));
        object
    }
}
