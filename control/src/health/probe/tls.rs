//! The TLS session within which some probes are spoken.

use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ProbeError, Target};

/// What is spoken within the session, which is what ALPN offers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inside {
    /// Whatever the check's texts are: nothing is offered.
    Anything,
    /// HTTP/1.1. A server that ignores the offer speaks it anyway.
    Http1,
    /// HTTP/2. A server has to accept the offer (RFC 9113, section 3.2).
    Http2,
}

/// Starts a session over `stream`.
///
/// The server's name is sent (SNI) if the check has a host that is one: an address is none (RFC 6066, section 3).
pub(super) async fn start<S>(
    stream: S,
    inside: Inside,
    host: Option<&str>,
    target: &Target,
) -> Result<TlsStream<S>, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = host.and_then(server_name).unwrap_or_else(|| ServerName::from(target.vip));
    let stream = TlsConnector::from(inside.config())
        .connect(name, stream)
        .await
        .map_err(|error| ProbeError::from_io(&error))?;
    if matches!(inside, Inside::Http2) && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(ProbeError::Http2NotAgreed);
    }
    Ok(stream)
}

/// The name in a configured host, which may end in a port.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = ServerName::try_from(name.to_owned()).ok()?;
    matches!(name, ServerName::DnsName(_)).then_some(name)
}

impl Inside {
    fn config(self) -> Arc<ClientConfig> {
        static ANYTHING: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| config(&[]));
        static HTTP1: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| config(&[b"http/1.1"]));
        static HTTP2: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| config(&[b"h2"]));
        Arc::clone(match self {
            Self::Anything => &ANYTHING,
            Self::Http1 => &HTTP1,
            Self::Http2 => &HTTP2,
        })
    }
}

fn config(alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for all of them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // Every probe makes the whole handshake: that is what a new client will do, and no session is kept.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Takes every certificate, and does not check who holds its key.
///
/// Google Cloud's probes do not verify certificates either: a probe asks whether the backend answers. It sends no
/// secret, and who could forge the answer could as well drop what clients send.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
