//! The binary: everything is in the library.

use std::process::ExitCode;

/// Gives memory back to the kernel soon, which glibc's allocator does not after large frames; set in `.cargo/config.toml`.
/// It also serves the C libraries (zstd, libdeflate).
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    logweir::cli::main()
}
