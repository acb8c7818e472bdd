//! The configuration: YAML with positions, each section as written, the plan as it runs.
//!
//! [`text`] finds the text, [`load`] makes a [`Plan`] of it or says everything that is wrong: text → `yaml` tree →
//! `substitute` → [`mod@file`] as written (`de`) → checks of everything together → [`plan`].

mod build;
mod cgroup;
mod check;
mod de;
mod fetch;
pub mod file;
mod locate;
pub mod plan;
mod problem;
mod read;
mod scalar;
mod schema;
mod substitute;
pub mod switch;
pub mod text;
pub mod value;
mod yaml;

pub(crate) use build::ECS_METADATA_VARIABLE;
pub use build::{Host, load};
pub use plan::Plan;
pub use problem::{Mark, Problem, Problems};
pub use schema::schema;

#[cfg(test)]
mod tests;
