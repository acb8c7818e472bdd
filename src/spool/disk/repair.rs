//! Writes what can be read of a damaged segment into a fresh one.
//!
//! The original is copied to `<name>.damaged` first (to `<name>.1.damaged` if there is one), and the fresh file then takes its name in one step: a crash leaves
//! the one or the other. The journal needs no change: a segment that is shorter than it says is walked when the spool is
//! opened, which also drops torn tails.

use std::io::{ErrorKind, Result};

use super::files::Directory;
use super::frame::MAGIC;
use super::look::{Look, Segment};
use super::segment::DAMAGED;

/// How the name of the fresh segment ends until it is whole.
const FRESH: &str = ".repaired";

/// Bytes that are copied at a time.
const CHUNK: usize = 1 << 20;

/// Rewrites a segment of this folder with its whole blocks. How many those are.
pub fn repair(look: &Look, segment: &Segment) -> Result<u64> {
    let directory = &**look.directory();
    let name = segment.name();
    let names = directory.names()?;
    let aside =
        |copies: u64| if copies == 0 { format!("{name}{DAMAGED}") } else { format!("{name}.{copies}{DAMAGED}") };
    let aside = (0..).map(aside).find(|aside| !names.contains(aside)).expect("there are more numbers than files");
    copy(directory, &name, &aside)?;
    let fresh = format!("{name}{FRESH}");
    match directory.remove(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = directory.create(&fresh)?;
    file.write_at(0, &[MAGIC])?;
    let (mut at, mut blocks) = (MAGIC.len() as u64, 0);
    look.read(segment, &mut |found, _, data| {
        if let Some(data) = data {
            let frame = found.header.encode();
            file.write_at(at, &[&frame, &data])?;
            at += (frame.len() + data.len()) as u64;
            blocks += 1;
        }
        Ok(())
    })?;
    file.sync()?;
    directory.rename(&fresh, &name)?;
    directory.sync()?;
    Ok(blocks)
}

fn copy(directory: &dyn Directory, from: &str, to: &str) -> Result<()> {
    let (from, to) = (directory.open(from)?, directory.create(to)?);
    let mut at = 0;
    loop {
        let bytes = from.read_at(at, CHUNK)?;
        if bytes.is_empty() {
            break;
        }
        to.write_at(at, &[&bytes])?;
        at += bytes.len() as u64;
    }
    to.sync()?;
    directory.sync()
}
