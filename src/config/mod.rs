//! The configuration: YAML with positions, each section as written, the plan as it runs.

pub mod value;
