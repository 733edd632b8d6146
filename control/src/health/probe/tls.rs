//! The TLS session within which probes of the types SSL, HTTPS, HTTP2 and GRPC_WITH_TLS ask.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Waker};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ProbeError, Target};

/// The protocol within the session, which is offered in ALPN.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inside {
    /// Bytes of no known protocol: nothing is offered.
    Anything,
    /// HTTP/1.1. A server that ignores the offer speaks it anyway.
    Http1,
    /// HTTP/2. A server has to accept the offer (RFC 9113, section 3.2).
    Http2,
}

/// The versions, cipher suites and groups that probes offer, in short; `docs/health.md` lists them.
const OFFERED: &str =
    "TLS 1.3 and 1.2, ECDHE with AES-GCM or ChaCha20-Poly1305, groups X25519, P-256 and P-384";

/// True if a session did not begin for lack of something that both ends speak: the server says so, or chose what was not
/// offered.
fn is_mismatch(error: &io::Error) -> bool {
    use AlertDescription::{HandshakeFailure, IllegalParameter, InsufficientSecurity, ProtocolVersion};
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::PeerIncompatible(_)) => true,
        Some(rustls::Error::AlertReceived(alert)) => {
            matches!(alert, HandshakeFailure | IllegalParameter | InsufficientSecurity | ProtocolVersion)
        }
        _ => false,
    }
}

/// Starts a session over `stream`.
///
/// The server's name is sent (SNI) if the check has a host that is a name: an address is none (RFC 6066, section 3).
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
    let stream =
        TlsConnector::from(inside.config()).connect(name, stream).await.map_err(|error| match inside {
            Inside::Http2 if is_alpn_refused(&error) => ProbeError::Http2NotAgreed,
            _ => match ProbeError::from_io(&error) {
                ProbeError::Tls(cause) if is_mismatch(&error) => {
                    ProbeError::Tls(format!("{cause}; offered: {OFFERED}"))
                }
                other => other,
            },
        })?;
    if matches!(inside, Inside::Http2) && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(ProbeError::Http2NotAgreed);
    }
    Ok(stream)
}

/// Tells the server that the session ends (`close_notify`), as far as that goes at once: it must not delay a known result.
pub(super) fn end<S>(mut stream: TlsStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
}

/// True if the server refuses all that was offered (RFC 7301, section 3.2), rather than ignoring the offer.
fn is_alpn_refused(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref());
    error == Some(&rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol))
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

/// A verifier that takes every certificate, and does not check who holds the key.
///
/// Google Cloud's probes do not verify certificates either: a probe asks whether the backend answers. It
/// sends no secret, and who could forge the answer could as well drop what clients send.
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

#[cfg(test)]
mod tests {
    use guideway_model::config::{Exchange, HttpRequest, Probe, ProxyHeader};

    use super::super::peer::{Then, ask, ask_in_time, exchange, floods, http, says, tls};
    use super::super::{MAX_READ_BYTES, ProbeError, WeightReport};
    use rustls::crypto::ring;

    use super::{OFFERED, server_name};

    const HEALTHY: Result<Option<WeightReport>, ProbeError> = Ok(None);

    #[tokio::test(start_paused = true)]
    async fn a_session_alone_is_a_success_with_an_outdated_certificate_of_another_name() {
        let server = async |stream| tls(stream, &[]).await.map(|session| says(session, b"", Then::Waits));
        let (result, session) = ask(Probe::Ssl(exchange("", "")), server).await;
        assert_eq!(result, HEALTHY);
        assert!(session.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_exchange_goes_within_the_session() {
        let server =
            async |stream| says(tls(stream, &[]).await.expect("a session"), b"PONG", Then::Waits).await;
        let (result, told) = ask(Probe::Ssl(exchange("PING", "PONG")), server).await;
        assert_eq!((result, told), (HEALTHY, b"PING".to_vec()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_header_precedes_the_session_in_plain_text() {
        const HEADER: &[u8] = b"PROXY TCP4 198.51.100.7 192.0.2.10 40001 8080\r\n";
        let probe = Exchange { proxy_header: ProxyHeader::ProxyV1, ..exchange("PING", "PONG") };
        let server = async |mut stream| {
            let mut header = [0; HEADER.len()];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut header).await.expect("a header");
            let session = tls(stream, &[]).await.expect("a session");
            (header, says(session, b"PONG", Then::Waits).await)
        };
        let (result, (header, told)) = ask(Probe::Ssl(probe), server).await;
        assert_eq!((result, told), (HEALTHY, b"PING".to_vec()));
        assert_eq!(header, *HEADER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_speaks_no_tls_is_a_failure() {
        let plain = |stream| says(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n", Then::Waits);
        let (result, _) = ask(Probe::Https(http("")), plain).await;
        assert!(matches!(result, Err(ProbeError::Tls(_))), "{result:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_within_the_handshake_is_a_failure() {
        for kind in [Probe::Ssl(exchange("", "")), Probe::Https(http("")), Probe::Http2(http(""))] {
            let (result, _) = ask(kind, |stream| says(stream, b"", Then::Closes)).await;
            assert_eq!(result, Err(ProbeError::Ended));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_hangs_up_within_the_handshake() {
        let (result, told) =
            ask_in_time(Probe::Ssl(exchange("", "")), |stream| says(stream, b"", Then::Waits)).await;
        assert_eq!(result, None);
        // A handshake record with a ClientHello.
        assert_eq!((told[0], told[5]), (22, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_handshake_is_read_to_a_bound() {
        // A handshake record with the beginning of a ServerHello of 16 MiB, then with more of it.
        let hello = [22, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff];
        let more = [[22, 3, 3, 1, 0].as_slice(), &[0; 256]].concat();
        let change_cipher_spec = [20, 3, 3, 0, 1, 1];
        let empty = [22, 3, 3, 0, 0];
        for (beginning, piece) in [
            (hello.as_slice(), more.as_slice()),
            (&change_cipher_spec, &change_cipher_spec),
            (&empty, &empty),
        ] {
            let endless = |stream| floods(stream, beginning, piece);
            let (result, written) = ask(Probe::Ssl(exchange("", "")), endless).await;
            assert!(matches!(result, Err(ProbeError::Tls(_) | ProbeError::AnswerTooLong)), "{result:?}");
            assert!(written < MAX_READ_BYTES + 32 * 1024, "{written}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_ends_without_farewell_is_a_failure() {
        let server = async |stream| drop(tls(stream, &[]).await.expect("a session"));
        let (result, ()) = ask(Probe::Ssl(exchange("", "PONG")), server).await;
        assert_eq!(result, Err(ProbeError::Ended));
    }

    /// The name and the protocol that an HTTPS probe agrees on with a server.
    async fn offered(host: Option<&str>) -> (Option<String>, Option<Vec<u8>>) {
        let request = HttpRequest { host: host.map(str::to_owned), ..http("") };
        let server = async |stream| {
            let session = tls(stream, &["h2", "http/1.1"]).await.expect("a session");
            let connection = session.get_ref().1;
            let seen =
                (connection.server_name().map(str::to_owned), connection.alpn_protocol().map(<[u8]>::to_vec));
            says(session, b"HTTP/1.1 200 OK\r\n\r\n", Then::Closes).await;
            seen
        };
        let (result, seen) = ask(Probe::Https(request), server).await;
        assert_eq!(result, Ok(Some(WeightReport::Missing)));
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_configured_name_is_offered() {
        assert_eq!(offered(Some("www.example")).await.0.as_deref(), Some("www.example"));
        assert_eq!(offered(None).await.0, None);
        assert_eq!(offered(Some("192.0.2.1")).await.0, None);
    }

    #[tokio::test(start_paused = true)]
    async fn https_agrees_on_http_1_1() {
        assert_eq!(offered(None).await.1.as_deref(), Some(b"http/1.1".as_slice()));
    }

    #[tokio::test(start_paused = true)]
    async fn http2_must_be_agreed_on() {
        let server = async |stream| tls(stream, &[]).await.is_some();
        assert_eq!(ask(Probe::Http2(http("")), server).await, (Err(ProbeError::Http2NotAgreed), true));

        let server = async |stream| tls(stream, &["http/1.1"]).await.is_some();
        assert_eq!(ask(Probe::Http2(http("")), server).await, (Err(ProbeError::Http2NotAgreed), false));
    }

    /// An alert of the server, as a record in plain text.
    async fn alerted(description: u8) -> String {
        let alert = [21, 3, 3, 0, 2, 2, description];
        let (result, _) =
            ask(Probe::Ssl(exchange("", "")), |stream| says(stream, &alert, Then::Closes)).await;
        result.expect_err("there is no session").to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_speaks_nothing_of_what_is_offered_is_told_from_others() {
        // RFC 8446, appendix B.2: handshake_failure, protocol_version, insufficient_security.
        for description in [40, 70, 71] {
            let error = alerted(description).await;
            assert!(error.ends_with(&format!("; offered: {OFFERED}")), "{error}");
        }
        // internal_error
        assert_eq!(alerted(80).await, "TLS: received fatal alert: InternalError");
    }

    /// Documentation that operators read holds what rustls offers: a suite that comes or goes has to be told of.
    #[test]
    fn what_is_offered_is_documented() {
        let provider = ring::default_provider();
        let suites = provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite()));
        let groups = provider.kx_groups.iter().map(|group| format!("{:?}", group.name()));
        let docs = include_str!("../../../../docs/health.md");
        let listed: Vec<_> =
            docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | TLS ")).collect();
        let listed: Vec<_> = listed.into_iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(listed, suites.chain(groups).collect::<Vec<_>>());
    }

    #[test]
    fn a_port_is_no_part_of_the_name() {
        let name = |host| server_name(host).map(|name| name.to_str().into_owned());
        assert_eq!(name("www.example:8443").as_deref(), Some("www.example"));
        for host in ["192.0.2.1:8443", "2001:db8::1", "[2001:db8::1]:443", "a/b", ":443"] {
            assert_eq!(name(host), None, "{host}");
        }
    }
}
