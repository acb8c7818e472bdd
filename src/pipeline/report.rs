//! The last lines of a run: the ledger in words, a line a source and a sink.

use crate::encode::Count;
use crate::ledger::{Books, Reasons};

/// Writes the ledger to the log. Whatever the log level, these lines appear: they are the proof of what became of
/// every record. `kept` is what stays on disk for the next start, by sink.
pub fn print(books: &Books, kept: &[Count]) {
    for line in lines(books, kept) {
        eprintln!("{line}");
    }
}

/// Records that sinks dropped, all together; what was diverted is in another sink's account.
pub fn dropped(books: &Books) -> u64 {
    let dropped = books.sinks.iter().flat_map(|book| &book.dropped).filter(|(reason, _)| **reason != "diverted");
    dropped.map(|(_, count)| count.records).sum()
}

fn lines(books: &Books, kept: &[Count]) -> Vec<String> {
    let mut lines = Vec::new();
    for book in &books.sources {
        let (name, received, routed) = (&book.name, book.received.records, book.routed.records);
        let drops = reasons(&book.dropped);
        lines.push(format!("ledger: source {name}: received {received} = routed {routed} + dropped {drops}"));
    }
    for (at, book) in books.sinks.iter().enumerate() {
        let (name, accepted, delivered) = (&book.name, book.accepted.records, book.delivered.records);
        let (waiting, drops) = (book.waiting().records, reasons(&book.dropped));
        let recovered = match book.recovered.records {
            0 => String::new(),
            recovered => format!(" (of them {recovered} from the last process)"),
        };
        let on_disk = match kept.get(at).map_or(0, |count| count.records) {
            0 => "",
            _ => " (on disk)",
        };
        lines.push(format!(
            "ledger: sink {name}: accepted {accepted}{recovered} = delivered {delivered} + waiting {waiting}{on_disk} \
             + dropped {drops}"
        ));
    }
    for book in &books.sinks {
        let (name, letters, diverted) = (&book.name, book.dead_letters.records, book.diverted.records);
        if letters + diverted > 0 {
            lines.push(format!(
                "ledger: of what sink {name} accepted, {letters} are dead letters and {diverted} diverted from full sinks"
            ));
        }
    }
    for wrong in books.discrepancies() {
        lines.push(format!("ledger: DOES NOT ADD UP, please report this bug: {wrong}"));
    }
    lines
}

/// `0`, or the sum with what it is made of: `12 (queue_full 10, too_old 2)`.
fn reasons(reasons: &Reasons) -> String {
    let mut sum = Count::default();
    reasons.values().for_each(|count| sum += *count);
    if sum.records == 0 {
        return "0".into();
    }
    let parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {}", count.records)).collect();
    format!("{} ({})", sum.records, parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn a_line_says_where_every_record_went() {
        let ledger = Ledger::new(["forward"], ["rest"], ["archive"]);
        {
            let mut books = ledger.books();
            let ten = Count { records: 10, bytes: 100 };
            let two = Count { records: 2, bytes: 20 };
            books.sources[0].received += ten;
            books.sources[0].routed += ten;
            books.sinks[0].accepted += ten;
            books.sinks[0].delivered += Count { records: 8, bytes: 80 };
            books.sinks[0].dropped.insert("too_old", two);
        }
        let expected = [
            "ledger: source forward: received 10 = routed 10 + dropped 0",
            "ledger: sink archive: accepted 10 = delivered 8 + waiting 0 + dropped 2 (too_old 2)",
        ];
        assert_eq!(lines(&ledger.snapshot(), &[]), expected);
    }

    #[test]
    fn books_that_do_not_add_up_are_told() {
        let ledger = Ledger::new(["forward"], ["rest"], ["archive"]);
        ledger.books().sinks[0].accepted += Count { records: 1, bytes: 1 };
        assert!(lines(&ledger.snapshot(), &[]).iter().any(|line| line.contains("DOES NOT ADD UP")));
    }
}
