//! Field paths (`kubernetes.labels.app`) and their values in a raw record.
