//! TLS 1.2 and 1.3 in front of a connection: certificate, key and authorities from PEM files, read again when they
//! change.
//!
//! A changed file is read once all of them have stood still between two looks, since they are seldom replaced at the
//! same moment. What cannot be used changes nothing: the certificate before it stays, and that is told and counted.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{InvalidMessage, RootCertStore, ServerConfig};
use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::TlsConfig;
use super::stats::ForwardStats;

/// Largest PEM file: a bundle of all public authorities has below 300 KB.
const MAX_FILE: u64 = 1 << 20;

/// Why there is no TLS.
#[derive(Debug, Error)]
#[error("`{path}` {why}")]
pub struct TlsError {
    /// The key of the config that names the file.
    pub key: &'static str,
    path: PathBuf,
    why: String,
}

/// Why a connection did not get through its TLS handshake.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("the peer does not speak TLS; switch it on there, or listen on tcp://")]
    Plain,
    #[error("the peer's certificate is not accepted: {0}")]
    ClientCertificate(rustls::Error),
    #[error("TLS handshake: {0}")]
    Handshake(rustls::Error),
    #[error(transparent)]
    Io(io::Error),
}

impl Failure {
    /// A Prometheus label value.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Plain => "plain_on_tls",
            Self::ClientCertificate(_) => "client_certificate",
            Self::Handshake(_) => "tls_handshake",
            Self::Io(_) => "io",
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::Plain,
            Some(
                tls @ (rustls::Error::NoCertificatesPresented
                | rustls::Error::InvalidCertificate(_)
                | rustls::Error::InvalidCertRevocationList(_)),
            ) => Self::ClientCertificate(tls.clone()),
            Some(tls) => Self::Handshake(tls.clone()),
            None => Self::Io(error),
        }
    }
}

/// The TLS side of a source.
#[derive(Debug)]
pub struct Tls {
    config: TlsConfig,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    /// The files as they were before `server` was read from them, or last could not be.
    read: Stamp,
    /// The files as they were at the last look.
    seen: Stamp,
}

/// What tells one state of the files from another; of a file that is not there, nothing.
type Stamp = Vec<Option<[i64; 6]>>;

impl Tls {
    /// Reads the files.
    pub fn open(config: &TlsConfig) -> Result<Self, TlsError> {
        let stamp = stamp(config);
        let server = server(config)?;
        let current = Mutex::new(Current { server: Arc::new(server), read: stamp.clone(), seen: stamp });
        Ok(Self { config: config.clone(), current })
    }

    /// Does the handshake on a fresh connection; a peer that goes away meanwhile is none.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<Option<TlsStream<TcpStream>>, Failure> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current().server));
        match acceptor.accept(stream).await {
            Ok(stream) => Ok(Some(stream)),
            // Health checks and fluentd's heartbeats.
            Err(error) if is_hang_up(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks after the files for ever; `name` is the source's name, for its log.
    pub(super) async fn keep_fresh(self: Arc<Self>, name: String, stats: Arc<ForwardStats>) {
        loop {
            tokio::time::sleep(self.config.reload.0.max(Duration::from_millis(1))).await;
            let tls = Arc::clone(&self);
            // A file system may hang; connections must not.
            let looked = tokio::task::spawn_blocking(move || tls.look()).await;
            match looked {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => {
                    stats.tls_reloads.add(1);
                    tracing::info!(source = name, "the certificate has changed, and new connections get it");
                }
                Ok(Err(error)) => {
                    stats.tls_reload_errors.add(1);
                    tracing::warn!(source = name, "the changed certificate is not used, the one before stays: {error}");
                }
                Err(error) => tracing::error!(source = name, %error, "cannot look after the certificate"),
            }
        }
    }

    /// Takes over what has changed; whether anything was.
    fn look(&self) -> Result<bool, TlsError> {
        let stamp = stamp(&self.config);
        let seen = std::mem::replace(&mut self.current().seen, stamp.clone());
        if stamp == self.current().read || stamp != seen {
            return Ok(false);
        }
        let server = server(&self.config);
        let mut current = self.current();
        // Either way: the same broken files are told once.
        current.read = stamp;
        current.server = Arc::new(server?);
        Ok(true)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn stamp(config: &TlsConfig) -> Stamp {
    let of = |m: Metadata| [m.dev() as i64, m.ino() as i64, m.size() as i64, m.mtime(), m.mtime_nsec(), m.ctime_nsec()];
    let paths = [Some(&config.cert), Some(&config.key), config.client_ca.as_ref()];
    paths.into_iter().map(|path| fs::metadata(path?).ok().map(of)).collect()
}

/// What serves connections, from the files as they are now.
fn server(config: &TlsConfig) -> Result<ServerConfig, TlsError> {
    let cert = wrong("cert", &config.cert);
    let chain = certificates(&config.cert).map_err(&cert)?;
    let key = private_key(&config.key).map_err(wrong("key", &config.key))?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| cert(format!("cannot be served: {error}")))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let fail = wrong("client_ca", path);
            let mut roots = RootCertStore::empty();
            for authority in certificates(path).map_err(&fail)? {
                roots.add(authority).map_err(|error| fail(format!("holds no usable authority: {error}")))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| fail(format!("cannot be used: {error}")))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => cert(format!("is not the certificate of `{}`", config.key.display())),
        error => cert(format!("cannot be used: {error}")),
    })
}

/// Makes errors about a file.
fn wrong(key: &'static str, path: &Path) -> impl Fn(String) -> TlsError {
    move |why| TlsError { key, path: path.to_owned(), why }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(broken)?;
    if chain.is_empty() {
        return Err("holds no certificate; PEM is expected, `-----BEGIN CERTIFICATE-----`".into());
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            "holds no private key that can be read; PKCS#8, PKCS#1 and SEC1 in PEM are accepted, without a password"
                .into()
        }
        error => broken(error),
    })
}

/// Without the library's words, which may quote the file.
fn broken(_: pem::Error) -> String {
    "is no sound PEM".into()
}

/// Reads a regular file: a pipe or device could hold up whoever reads it.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    if !fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.is_file() {
        return Err("is no file".into());
    }
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("has more than {MAX_FILE} bytes; no certificate is so large"));
    }
    Ok(text)
}

/// Whether the peer has gone away, and no more.
pub(super) fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// A reading half that takes a peer's bare hang-up for its end: many clients close without TLS' own goodbye, and every
/// frame tells its length, so that nothing can be cut off unnoticed.
#[derive(Debug)]
pub(super) struct HangUpIsEnd<R>(pub(super) R);

impl<R: AsyncRead + Unpin> AsyncRead for HangUpIsEnd<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(context, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            polled => polled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(cert: &Path, key: &Path) -> TlsError {
        let config = serde_json::json!({ "cert": cert, "key": key });
        Tls::open(&serde_json::from_value(config).expect("a tls config")).expect_err("nothing to serve")
    }

    #[test]
    fn names_the_file_and_what_is_wrong_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        let empty = write("empty", b"");
        let cut = write("cut", b"-----BEGIN CERTIFICATE-----\nAAAA\n");
        let huge = write("huge", &vec![b'\n'; MAX_FILE as usize + 1]);
        let shell = write("shell", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for (path, key, why) in [
            (&dir.path().join("missing"), "cert", "cannot be read: No such file"),
            (&dir.path().to_owned(), "cert", "is no file"),
            (&empty, "cert", "holds no certificate"),
            (&cut, "cert", "is no sound PEM"),
            (&huge, "cert", "has more than"),
            // What the certificate says is looked at when there is a key for it.
            (&shell, "key", "holds no private key"),
        ] {
            let error = error(path, &empty);
            assert_eq!(error.key, key, "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
