//! The Forward source over real sockets: what goes in comes out once, acks are byte-exact, bad peers disturb nobody,
//! and a drain loses nothing.

mod acks;
mod drain;
mod hostile;
mod support;
mod wire;
