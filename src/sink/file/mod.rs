//! The `file` sink: objects appear whole (written aside, synced, renamed).

mod config;
pub use config::FileConfig;
