//! How many objects or requests a stream of records becomes, by the rules of the sinks: an object is closed when it has
//! its size or its age, counted from its first record; a prefix with dates begins anew when they change.

/// Seconds of a day.
pub const DAY: f64 = 86_400.0;

/// Records of one writer and one name, coming evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flow {
    /// Records a second.
    pub records: f64,
    /// Bytes a second, as the limit counts them.
    pub bytes: f64,
}

/// When a piece (an object, a request) is closed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// At this size, in bytes.
    pub size: f64,
    /// At this many records.
    pub records: f64,
    /// So long after its first record, in seconds.
    pub age: f64,
    /// Its name changes so often, in seconds; infinite if it never does.
    pub bucket: f64,
}

impl Flow {
    /// Pieces a day, on average.
    pub fn pieces(&self, cut: &Cut) -> f64 {
        if self.records <= 0.0 {
            return 0.0;
        }
        let gap = 1.0 / self.records;
        let full = (cut.size / self.bytes).min(cut.records * gap);
        // Closed by age, a piece is followed by nothing until the next record comes.
        let each = if full <= cut.age { full } else { cut.age + gap };
        // However rarely pieces are closed, a name that gets a record gets a piece.
        let names = if cut.bucket.is_finite() { (1.0 - (-self.records * cut.bucket).exp()) / cut.bucket } else { 0.0 };
        // And the end of its time finds a rest, half a piece on average.
        let rests = names / 2.0;
        DAY * (1.0 / each + rests).max(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Cut = Cut { size: 1000.0, records: f64::INFINITY, age: 300.0, bucket: f64::INFINITY };

    fn pieces(records: f64, bytes: f64, cut: Cut) -> f64 {
        Flow { records, bytes }.pieces(&cut)
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < expected * 0.01, "{found} is not about {expected}");
    }

    #[test]
    fn a_slow_stream_is_cut_by_age_and_a_fast_one_by_size() {
        near(pieces(10.0, 1.0, CUT), DAY / 300.1);
        near(pieces(10.0, 100.0, CUT), DAY / 10.0);
        near(pieces(10.0, 100.0, Cut { records: 50.0, ..CUT }), DAY / 5.0);
        assert_eq!(pieces(0.0, 0.0, CUT), 0.0);
    }

    #[test]
    fn rare_records_have_an_object_each() {
        near(pieces(1.0 / 3600.0, 0.01, CUT), DAY / 3900.0);
    }

    #[test]
    fn a_name_that_changes_each_hour_has_an_object_each_hour_at_least() {
        let hourly = Cut { age: 7200.0, bucket: 3600.0, ..CUT };
        near(pieces(1.0, 0.0001, hourly), 24.0);
        near(pieces(1.0, 1.0, Cut { size: 100.0, ..hourly }), 864.0 + 12.0);
    }
}
