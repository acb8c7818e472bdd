//! The configuration: YAML with positions, each section as written, the plan as it runs.

pub mod cgroup;
pub mod de;
pub mod file;
pub mod locate;
pub mod plan;
pub mod problem;
pub mod scalar;
pub mod substitute;
pub mod value;
pub mod yaml;

pub use plan::Plan;
pub use problem::Problems;
