//! TLS at our own ports and between our own services, from certificates in files. The files are looked
//! at again from time to time: a new certificate counts for the connections that follow, without a
//! restart. One that cannot be read, or whose key is another's, changes nothing but the log.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(test)]
mod tests;

/// How long the other side may take to shake hands.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Where a certificate and what belongs to it are. All absent: no TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate and those above it, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
    /// The authority whose certificates the other side must have, in PEM.
    pub authority: Option<PathBuf>,
    /// How often the files are looked at again.
    #[serde(with = "humantime_serde")]
    pub reload: Duration,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            authority: None,
            reload: Duration::from_secs(30),
        }
    }
}

impl TlsConfig {
    /// Whether there is TLS.
    pub fn is_on(&self) -> bool {
        self.certificate.is_some() || self.key.is_some()
    }
}

/// What was read from the files.
struct Material {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Option<Arc<RootCertStore>>,
    bytes: Vec<Vec<u8>>,
}

/// TLS as the configuration has it, for the ports of a process and for its calls.
pub struct Tls {
    config: TlsConfig,
    alpn: Vec<Vec<u8>>,
    bytes: Mutex<Vec<Vec<u8>>>,
    server: ArcSwap<ServerConfig>,
    client: ArcSwap<ClientConfig>,
}

impl Tls {
    /// Reads the files; `None` where the configuration names none. `alpn` is what is spoken inside,
    /// preferred first.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be; the message names it.
    pub fn open(config: &TlsConfig, alpn: &[&str]) -> anyhow::Result<Option<Arc<Tls>>> {
        if !config.is_on() {
            ensure!(
                config.authority.is_none(),
                "an authority without a certificate"
            );
            return Ok(None);
        }
        ensure!(!config.reload.is_zero(), "reload is zero");
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let material = Material::read(config)?;
        let (server, client) = material.configs(&alpn)?;
        Ok(Some(Arc::new(Tls {
            config: config.clone(),
            alpn,
            bytes: Mutex::new(material.bytes),
            server: ArcSwap::from_pointee(server),
            client: ArcSwap::from_pointee(client),
        })))
    }

    /// Looks at the files again from time to time, until `shutdown`.
    pub fn watch(self: &Arc<Self>, tasks: &TaskTracker, shutdown: &CancellationToken) {
        let (tls, shutdown) = (self.clone(), shutdown.clone());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(tls.config.reload) => {}
                }
                let again = tls.clone();
                let looked = tokio::task::spawn_blocking(move || again.reload()).await;
                match looked {
                    Ok(Ok(true)) => tracing::info!("a new certificate is in use"),
                    Ok(Ok(false)) => {}
                    Ok(Err(error)) => {
                        tracing::warn!("the new certificate is not used: {error:#}");
                    }
                    Err(_) => tracing::error!("reading the certificate panicked"),
                }
            }
        });
    }

    /// Reads the files again; whether they hold something else than before.
    ///
    /// # Errors
    /// As [`Tls::open`]; what was in use stays.
    pub fn reload(&self) -> anyhow::Result<bool> {
        let material = Material::read(&self.config)?;
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if *bytes == material.bytes {
            return Ok(false);
        }
        let (server, client) = material.configs(&self.alpn)?;
        self.server.store(Arc::new(server));
        self.client.store(Arc::new(client));
        *bytes = material.bytes;
        Ok(true)
    }

    /// Shakes hands with whoever has connected.
    ///
    /// # Errors
    /// When they do not speak TLS, have no certificate where one is needed, or take too long.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let acceptor = TlsAcceptor::from(self.server.load_full());
        let shaken = timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await;
        shaken
            .map_err(|_| io::ErrorKind::TimedOut)?
            .map(|stream| Stream::Accepted(Box::new(stream)))
    }

    /// Shakes hands with the server called `host`, which must have a certificate for that name.
    ///
    /// # Errors
    /// When it has none of our authority's, or does not take ours.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Stream> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.client.load_full());
        let shaken = timeout(HANDSHAKE_MAX, connector.connect(name, stream)).await;
        shaken
            .map_err(|_| io::ErrorKind::TimedOut)?
            .map(|stream| Stream::Connected(Box::new(stream)))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Material {
    fn read(config: &TlsConfig) -> anyhow::Result<Material> {
        let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else {
            bail!("a certificate and its key belong together: one of them is not set");
        };
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut bytes = vec![read(certificate)?, read(key)?];
        let chain = certificates(&bytes[0], certificate)?;
        let private = PrivateKeyDer::from_pem_slice(&bytes[1])
            .map_err(|_| anyhow::anyhow!("{} is not a private key in PEM", key.display()))?;
        let roots = match &config.authority {
            None => None,
            Some(authority) => {
                let text = read(authority)?;
                let mut roots = RootCertStore::empty();
                for certificate in certificates(&text, authority)? {
                    let added = roots.add(certificate);
                    added.with_context(|| format!("{}", authority.display()))?;
                }
                bytes.push(text);
                Some(Arc::new(roots))
            }
        };
        Ok(Material {
            chain,
            key: private,
            roots,
            bytes,
        })
    }

    fn configs(&self, alpn: &[Vec<u8>]) -> anyhow::Result<(ServerConfig, ClientConfig)> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut server = self.server(&provider)?;
        server.alpn_protocols = alpn.to_vec();
        let none = || Arc::new(RootCertStore::empty());
        let roots = self.roots.clone().unwrap_or_else(none);
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .context("the certificate and its key do not belong together")?;
        client.alpn_protocols = alpn.to_vec();
        Ok((server, client))
    }

    fn server(&self, provider: &Arc<CryptoProvider>) -> anyhow::Result<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match &self.roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        builder
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .context("the certificate and its key do not belong together")
    }
}

fn certificates(pem: &[u8], path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    chain.with_context(|| format!("{} holds no certificates in PEM", path.display()))
}

/// A connection, with TLS or without.
#[derive(Debug)]
pub enum Stream {
    /// Without.
    Plain(TcpStream),
    /// With, as the server.
    Accepted(Box<server::TlsStream<TcpStream>>),
    /// With, as the client.
    Connected(Box<client::TlsStream<TcpStream>>),
}

/// What HTTP/2 begins with where it was not agreed on before (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Stream {
    /// Waits for the other end to begin, and tells whether that is certainly HTTP/1. Takes nothing from it.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn begins_as_http1(&self) -> io::Result<bool> {
        let agreed = match self {
            Stream::Plain(stream) => {
                let mut begin = [0; HTTP2_PREFACE.len()];
                let count = stream.peek(&mut begin).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                return Ok(!HTTP2_PREFACE.starts_with(&begin[..count]));
            }
            Stream::Accepted(stream) => stream.get_ref().1.alpn_protocol(),
            Stream::Connected(stream) => stream.get_ref().1.alpn_protocol(),
        };
        Ok(agreed.is_some_and(|protocol| protocol != b"h2"))
    }
}

impl tonic::transport::server::Connected for Stream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// The stream inside, whichever it is.
macro_rules! inside {
    ($stream:ident, $call:ident($($argument:expr),*)) => {
        match self_of($stream) {
            Stream::Plain(stream) => Pin::new(stream).$call($($argument),*),
            Stream::Accepted(stream) => Pin::new(stream.as_mut()).$call($($argument),*),
            Stream::Connected(stream) => Pin::new(stream.as_mut()).$call($($argument),*),
        }
    };
}

fn self_of(stream: Pin<&mut Stream>) -> &mut Stream {
    stream.get_mut()
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inside!(self, poll_read(cx, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        inside!(self, poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inside!(self, poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Accepted(stream) => stream.is_write_vectored(),
            Stream::Connected(stream) => stream.is_write_vectored(),
        }
    }
}
