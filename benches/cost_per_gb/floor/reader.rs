//! The bare reader: the least program that could read these sockets, in a process of its own.
//!
//! One thread, one epoll, one buffer, and the bytes are forgotten. A thread a connection that blocks in its reads was
//! tried: it needs one call less a read, but each connection wakes its own thread. With four connections it took twice
//! the CPU for lines at full speed and 1.2 times for lines at a rate, with 500 connections six times.
//!
//! With a pause, the reader sleeps before it asks what has come, so that one wake-up serves many small writes.

use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use serde::{Deserialize, Serialize};

use crate::machine;

/// The most that is read at once; as much as the router reads from a connection that is flooded.
const BUFFER: usize = 256 << 10;

/// The most sockets that are told at once.
const EVENTS: usize = 64;

/// What the reader is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Where it listens.
    pub(crate) socket: PathBuf,
    /// So many come, and with the end of the last it ends.
    pub(crate) connections: usize,
    pub(crate) pause: Duration,
}

/// What the reader has done.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    /// CPU seconds, user and system, from the last connection's begin on.
    pub(crate) cpu: f64,
    pub(crate) bytes: u64,
}

/// Runs the reader: its order as JSON in, its account as a line of JSON out.
pub(crate) fn run(order: &str) {
    let order: Order = serde_json::from_str(order).expect("the bench wrote it");
    let listener = UnixListener::bind(&order.socket).expect("a directory of the bench");
    println!("ready");
    let sockets: io::Result<Vec<_>> = (0..order.connections).map(|_| Ok(listener.accept()?.0)).collect();
    let sockets = sockets.expect("the sender connects");
    let before = machine::own_cpu();
    let bytes = read(sockets, order.pause).expect("sockets can be read");
    let done = Done { cpu: machine::own_cpu() - before, bytes };
    println!("{}", serde_json::to_string(&done).expect("plain data"));
}

/// Reads everything to the end of each; how much it was.
fn read(mut sockets: Vec<UnixStream>, pause: Duration) -> io::Result<u64> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (n, socket) in (0..).zip(&sockets) {
        epoll::add(&epoll, socket, epoll::EventData::new_u64(n), epoll::EventFlags::IN)?;
    }
    let (mut buffer, mut ready) = (vec![0; BUFFER], Vec::with_capacity(EVENTS));
    let (mut bytes, mut open) = (0, sockets.len());
    while open > 0 {
        if !pause.is_zero() {
            thread::sleep(pause);
        }
        ready.clear();
        epoll::wait(&epoll, spare_capacity(&mut ready), None)?;
        for event in &ready {
            let socket = &mut sockets[event.data.u64() as usize];
            match socket.read(&mut buffer)? {
                0 => {
                    epoll::delete(&epoll, &*socket)?;
                    open -= 1;
                }
                n => bytes += n as u64,
            }
        }
    }
    Ok(bytes)
}
