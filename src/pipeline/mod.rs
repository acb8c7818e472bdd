//! Builds and runs it all.
