//! RFC 3339 with nanoseconds, and the parts of a date that names use; cached by second.
