//! A proxy that logs text: nginx's combined format, and its errors.

use std::fmt::Write;

use super::words::Words;

/// One line.
pub(super) fn line(words: &mut Words, out: &mut String, alert: bool, mark: &str) {
    let (hour, minute, second, _) = words.time();
    let client = words.clients.pick(&mut words.rng);
    if alert {
        let (pid, connection) = (words.rng.u8(20..28), words.rng.u32(10_000..99_999_999));
        let _ = write!(out, "2026/11/23 {hour:02}:{minute:02}:{second:02} [error] {pid}#{pid}: *{connection} ");
        let _ = write!(
            out,
            "{} while connecting to upstream, client: {client}, server: www.example.com, ",
            ["connect() failed (111: Connection refused)", "upstream timed out (110: Connection timed out)"]
                [words.rng.usize(..2)],
        );
        let method = words.method();
        let _ = write!(out, "request: \"{method} ");
        words.path(out);
        let host = words.rng.u8(2..40);
        let _ = write!(out, " HTTP/1.1\", upstream: \"http://10.0.12.{host}:8080\", request_id: {mark}");
        return;
    }
    let _ = write!(out, "{client} - - [23/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000] \"");
    out.push_str(words.method());
    out.push(' ');
    words.path(out);
    let (status, bytes) = (words.status(false), words.rng.u32(..) >> words.rng.u32(12..24));
    let agent = words.agents.pick(&mut words.rng);
    let _ = write!(
        out,
        " HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\" {mark} {}.{:03}",
        words.rng.u8(..2),
        words.rng.u16(..1000)
    );
}
