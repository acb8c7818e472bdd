//! The members of JSON objects that are being written at the end of a buffer: unique keys without a second pass.
//!
//! Members are written as they come, each ending in a comma, and remembered as positions in the buffer. When a key
//! comes that an earlier member of the same object has, that member is marked dead; dead members are closed up when
//! the object ends. A narrow object compares each key as it comes, behind a mask of 64 bits that mostly says at once
//! that the key is new; a wide one is sorted when it ends, so that hostile records cost `n log n` and not `n²`.

/// Members up to which keys are compared one by one.
const NARROW: usize = 32;

/// One member in the buffer.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Where its key's opening quote is; it ends where the next member begins, or the buffer.
    start: usize,
    /// Length of the escaped key with its quotes.
    key_len: usize,
    /// Whether a later member has the same key.
    dead: bool,
}

/// The members of all objects that are open, the innermost last; empty between records.
#[derive(Debug, Default)]
pub(super) struct Members {
    stack: Vec<Member>,
    order: Vec<usize>,
}

/// One object that is open.
#[derive(Debug)]
pub(super) struct Object {
    /// Its first member in [`Members::stack`].
    base: usize,
    /// A bit for each key seen: if a key's bit is not set, the key is new.
    seen: u64,
    /// Whether a member is dead.
    holes: bool,
}

impl Members {
    /// Forgets what an object that was given up has left.
    pub(super) fn clear(&mut self) {
        self.stack.clear();
    }

    /// Opens an object.
    pub(super) fn open(&mut self, out: &mut Vec<u8>) -> Object {
        out.push(b'{');
        Object { base: self.stack.len(), seen: 0, holes: false }
    }

    /// Takes the quoted, escaped key that has been written from `start` to the end of `out`, and adds the colon.
    /// Returns whether an earlier member had to give way; in a wide object that shows only when it is closed.
    #[inline]
    pub(super) fn key(&mut self, object: &mut Object, start: usize, out: &mut Vec<u8>) -> bool {
        let repeated = self.note(object, start, out.len() - start, out);
        out.push(b':');
        repeated
    }

    /// Takes the quoted, escaped key of `key_len` bytes that stands at `start`; returns as [`Members::key`].
    #[inline]
    pub(super) fn note(&mut self, object: &mut Object, start: usize, key_len: usize, out: &[u8]) -> bool {
        let key = &out[start..start + key_len];
        let bit = bit(key);
        let mut repeated = false;
        if object.seen & bit != 0
            && self.stack.len() - object.base <= NARROW
            && let Some(index) = self.find(object, key, out)
        {
            self.remove(object, index);
            repeated = true;
        }
        object.seen |= bit;
        self.stack.push(Member { start, key_len, dead: false });
        repeated
    }

    /// The index of the member that was added last.
    pub(super) fn last(&self) -> usize {
        self.stack.len() - 1
    }

    /// Whether the member with this index still stands.
    pub(super) fn stands(&self, index: usize) -> bool {
        self.stack.get(index).is_some_and(|member| !member.dead)
    }

    /// The last standing member with this quoted, escaped key.
    pub(super) fn find(&self, object: &Object, key: &[u8], out: &[u8]) -> Option<usize> {
        if object.seen & bit(key) == 0 {
            return None;
        }
        let mine = &self.stack[object.base..];
        mine.iter().rposition(|m| !m.dead && &out[m.start..m.start + m.key_len] == key).map(|i| object.base + i)
    }

    /// Takes out all standing members with this quoted, escaped key; returns how many there were.
    pub(super) fn remove_all(&mut self, object: &mut Object, key: &[u8], out: &[u8]) -> u64 {
        let mine = self.stack[object.base..].iter_mut();
        let equal = mine.filter(|m| !m.dead && &out[m.start..m.start + m.key_len] == key);
        let removed = equal.map(|member| member.dead = true).count() as u64;
        object.holes |= removed > 0;
        removed
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, object: &mut Object, index: usize) {
        self.stack[index].dead = true;
        object.holes = true;
    }

    /// Ends the object; returns how many members had to give way that [`Members::key`] did not tell of.
    pub(super) fn close(&mut self, mut object: Object, out: &mut Vec<u8>) -> u64 {
        let wide = self.stack.len() - object.base > NARROW;
        let repeated = if wide { self.sort_out(&mut object, out) } else { 0 };
        if object.holes {
            self.close_up(&object, out);
        }
        self.stack.truncate(object.base);
        match out.last_mut() {
            Some(last) if *last == b',' => *last = b'}',
            _ => out.push(b'}'),
        }
        repeated
    }

    #[cold]
    fn sort_out(&mut self, object: &mut Object, out: &[u8]) -> u64 {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend((object.base..self.stack.len()).filter(|&i| !self.stack[i].dead));
        let key = |i: usize| &out[self.stack[i].start..][..self.stack[i].key_len];
        order.sort_unstable_by(|&a, &b| key(a).cmp(key(b)).then(a.cmp(&b)));
        let mut repeated = 0;
        for i in 1..order.len() {
            let (earlier, later) = (order[i - 1], order[i]);
            let key = |i: usize| &out[self.stack[i].start..][..self.stack[i].key_len];
            if key(earlier) == key(later) {
                self.remove(object, earlier);
                repeated += 1;
            }
        }
        self.order = order;
        repeated
    }

    #[cold]
    fn close_up(&mut self, object: &Object, out: &mut Vec<u8>) {
        let mine = &self.stack[object.base..];
        let Some(first) = mine.first() else { return };
        let mut to = first.start;
        for (i, member) in mine.iter().enumerate() {
            let end = mine.get(i + 1).map_or(out.len(), |next| next.start);
            if !member.dead {
                out.copy_within(member.start..end, to);
                to += end - member.start;
            }
        }
        out.truncate(to);
    }
}

/// The bit of a quoted key, from its length and the characters at its ends.
fn bit(key: &[u8]) -> u64 {
    let at = |i: usize| key.get(i).copied().unwrap_or(0);
    let mix = at(1).wrapping_mul(7) ^ at(key.len().wrapping_sub(2)).wrapping_mul(29) ^ key.len() as u8;
    1 << (mix & 63)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(keys: &[String]) -> (String, u64) {
        let (mut members, mut out, mut repeated) = (Members::default(), Vec::new(), 0);
        let mut object = members.open(&mut out);
        for (i, key) in keys.iter().enumerate() {
            let start = out.len();
            out.extend_from_slice(format!("\"{key}\"").as_bytes());
            repeated += u64::from(members.key(&mut object, start, &mut out));
            out.extend_from_slice(format!("{i},").as_bytes());
        }
        repeated += members.close(object, &mut out);
        assert!(members.stack.is_empty());
        (String::from_utf8(out).unwrap(), repeated)
    }

    proptest! {
        #[test]
        fn of_equal_keys_the_last_stands_at_its_own_place(
            keys in prop_oneof![
                prop::collection::vec("[a-c]{0,2}", 0..12),
                prop::collection::vec("[a-e]{0,3}", 20..120),
            ]
        ) {
            let standing: Vec<String> = (0..keys.len())
                .filter(|&i| !keys[i + 1..].contains(&keys[i]))
                .map(|i| format!("\"{}\":{i}", keys[i]))
                .collect();
            let (text, repeated) = write(&keys);
            prop_assert_eq!(text, format!("{{{}}}", standing.join(",")));
            prop_assert_eq!(repeated as usize, keys.len() - standing.len());
        }
    }
}
