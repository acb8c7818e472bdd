//! Binding: the sockets of a source, opened before anything else is asked for.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::ForwardConfig;
use super::address::{Address, AddressError};
use super::tls::{Tls, TlsError};

/// Connections that may wait to be accepted: every container of a host may come at once. The kernel caps it at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why a source cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address makes no sense.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Something that is no socket lies at the path; it is left alone.
    #[error("`{0}` exists and is no socket; remove it or listen on another path")]
    NotASocket(PathBuf),
    /// A `tls://` address without a certificate.
    #[error("tls.{key}: {0}", key = .0.key)]
    Tls(#[from] TlsError),
    /// A `tls://` address without a certificate being named.
    #[error(
        "`{0}` needs a certificate; write for example `tls: {{cert: /etc/logweir/tls.crt, key: /etc/logweir/tls.key}}`"
    )]
    NoTls(Address),
    /// Another process accepts connections there.
    #[error("another process listens on `{0}`; stop it or listen elsewhere")]
    InUse(String),
    /// The system refused.
    #[error("cannot listen on `{address}`: {error}")]
    Io {
        /// The address as written.
        address: String,
        /// What the system said.
        error: io::Error,
    },
}

/// The bound sockets of a source: they take connections, which wait until [`fn@super::serve`] accepts them.
#[derive(Debug, Default)]
pub struct Listeners {
    pub(super) bound: Vec<Bound>,
    /// The certificate of `tls://` addresses; there when one of these is.
    pub(super) certificate: Option<Tls>,
}

/// One address that is listened on.
#[derive(Debug)]
pub(super) struct Bound {
    /// As the config says.
    wanted: Address,
    /// With the port that the system chose for port 0.
    local: Address,
    pub(super) socket: Socket,
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixListener, Arc<SocketFile>),
    /// With the socket that answers heartbeats, if there is one.
    Tcp(TcpListener, Option<UdpSocket>),
    /// TCP with TLS inside.
    Tls(TcpListener),
}

impl Listeners {
    /// Opens every address of the source, or none. Hosts that are names are resolved.
    pub fn bind(config: &ForwardConfig) -> Result<Self, BindError> {
        Self::bind_beside(config, &[])
    }

    /// The same while `others` are open: an address that one of them has is shared with it, so that no peer finds it
    /// closed when that one goes. A certificate is read anew.
    pub fn bind_beside(config: &ForwardConfig, others: &[&Self]) -> Result<Self, BindError> {
        let mut listeners = Self::default();
        for text in &config.listen {
            let wanted: Address = text.parse()?;
            if matches!(wanted, Address::Tls(_)) && listeners.certificate.is_none() {
                let config = config.tls.as_ref().ok_or_else(|| BindError::NoTls(wanted.clone()))?;
                listeners.certificate = Some(Tls::open(config)?);
            }
            let open = others.iter().flat_map(|other| &other.bound).find(|bound| bound.wanted == wanted);
            listeners.bound.push(match open {
                Some(bound) => bound.share().map_err(|error| failed(&wanted, error))?,
                None => Bound::open(wanted)?,
            });
        }
        Ok(listeners)
    }

    /// The same sockets once more.
    pub fn share(&self) -> io::Result<Self> {
        let bound = self.bound.iter().map(Bound::share).collect::<io::Result<_>>()?;
        Ok(Self { bound, certificate: None })
    }

    /// Where the source listens, with the port that the system chose for port 0.
    pub fn addresses(&self) -> Vec<Address> {
        self.bound.iter().map(|bound| bound.local.clone()).collect()
    }
}

impl Bound {
    fn open(wanted: Address) -> Result<Self, BindError> {
        let fail = |error| failed(&wanted, error);
        let (local, socket) = match &wanted {
            Address::Unix(path) => {
                make_way(path, &wanted)?;
                let listener = UnixListener::bind(path).map_err(fail)?;
                let file = SocketFile::of(path.clone()).map_err(fail)?;
                rustix::net::listen(&listener, BACKLOG).map_err(|error| fail(error.into()))?;
                listener.set_nonblocking(true).map_err(fail)?;
                (wanted.clone(), Socket::Unix(listener, Arc::new(file)))
            }
            Address::Tcp(host) => {
                let (listener, local) = tcp(host).map_err(fail)?;
                // Only old fluentd asks over UDP; logs come over TCP all the same.
                let tell = |error| tracing::warn!(address = %wanted, %error, "udp heartbeats are not answered");
                (Address::Tcp(local.to_string()), Socket::Tcp(listener, heartbeats(local).map_err(tell).ok()))
            }
            // Without UDP heartbeats: a client that means TLS has nothing to say in the clear.
            Address::Tls(host) => {
                let (listener, local) = tcp(host).map_err(fail)?;
                (Address::Tls(local.to_string()), Socket::Tls(listener))
            }
        };
        Ok(Self { wanted, local, socket })
    }

    /// The same socket once more: both take from one line of waiting connections.
    fn share(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Unix(listener, file) => Socket::Unix(listener.try_clone()?, Arc::clone(file)),
            Socket::Tcp(listener, udp) => {
                Socket::Tcp(listener.try_clone()?, udp.as_ref().map(UdpSocket::try_clone).transpose()?)
            }
            Socket::Tls(listener) => Socket::Tls(listener.try_clone()?),
        };
        Ok(Self { wanted: self.wanted.clone(), local: self.local.clone(), socket })
    }
}

/// The standard library sets `SO_REUSEADDR`, so that a restart does not wait for connections in TIME_WAIT.
fn tcp(host: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(host)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

fn heartbeats(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn failed(address: &Address, error: io::Error) -> BindError {
    match error.kind() {
        ErrorKind::AddrInUse => BindError::InUse(address.to_string()),
        _ => BindError::Io { address: address.to_string(), error },
    }
}

/// Removes a socket that a process left behind; refuses to touch anything else.
fn make_way(path: &Path, address: &Address) -> Result<(), BindError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(address, error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse(address.to_string())),
        // Nobody listens: the file of a process that ended without removing it.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| failed(address, error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(address, error)),
    }
}

/// The file of a unix socket; removed with it, unless another process has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        let id = identity(&path.symlink_metadata()?);
        Ok(Self { path, id })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|metadata| identity(&metadata) == self.id) {
            // What remains is removed by the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(listen: &[String]) -> Result<Listeners, BindError> {
        let config = serde_json::json!({ "listen": listen });
        Listeners::bind(&serde_json::from_value(config).expect("a forward config"))
    }

    fn unix(path: &Path) -> Vec<String> {
        vec![format!("unix://{}", path.display())]
    }

    #[test]
    fn takes_over_a_stale_socket_and_removes_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fluent.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "the listener left its file");
        let listeners = bind(&unix(&path)).expect("the stale socket makes way");
        UnixStream::connect(&path).expect("somebody listens");
        drop(listeners);
        assert!(!path.exists());
    }

    #[test]
    fn leaves_a_path_alone_that_is_no_socket() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fluent.sock");
        std::fs::write(&path, "precious").expect("a file");
        let error = bind(&unix(&path)).expect_err("a file is no socket");
        assert!(matches!(error, BindError::NotASocket(_)), "{error}");
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
    }

    #[test]
    fn refuses_a_socket_that_another_process_accepts_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fluent.sock");
        let first = bind(&unix(&path)).expect("free");
        let error = bind(&unix(&path)).expect_err("taken");
        assert!(error.to_string().contains("another process listens"), "{error}");
        drop(first);
        bind(&unix(&path)).expect("free again");
    }

    #[test]
    fn does_not_remove_the_socket_of_its_successor() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fluent.sock");
        let first = bind(&unix(&path)).expect("free");
        std::fs::remove_file(&path).expect("removed by somebody");
        let _second = UnixListener::bind(&path).expect("free");
        drop(first);
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_is_shared_outlives_the_one_it_was_shared_with() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fluent.sock");
        let listen = serde_json::json!({ "listen": [unix(&path)[0], "tcp://127.0.0.1:0"] });
        let config: ForwardConfig = serde_json::from_value(listen).expect("a forward config");
        let first = Listeners::bind(&config).expect("free");
        let second = Listeners::bind_beside(&config, &[&first]).expect("shared, not in use");
        assert_eq!(second.addresses(), first.addresses());
        drop(first);
        UnixStream::connect(&path).expect("somebody listens");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn tells_the_port_that_the_system_chose() {
        let listeners = bind(&["tcp://127.0.0.1:0".into(), "tcp://[::1]:0".into()]).expect("loopback");
        for address in listeners.addresses() {
            assert!(!address.to_string().ends_with(":0"), "{address}");
        }
        let again = bind(&[listeners.addresses()[0].to_string()]).expect_err("taken");
        assert!(matches!(again, BindError::InUse(_)), "{again}");
    }
}
