//! What is measured beside the ledger.
