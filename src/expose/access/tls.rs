//! Certificates and keys as PEM into what rustls serves with. Pure: bytes in, a configuration
//! out, or why there is none.
//!
//! ring is the only provider. Nothing of a key is ever part of an error.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::web_file::{ClientAuth, TlsFile, TlsVersion};
use crate::model::time::UnixMillis;

/// The one protocol over TLS: the server's limits count requests by connections.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why TLS cannot be spoken as asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate in the file.
    #[error(
        "tls_server_config: {key} holds no PEM certificate; name a file that begins with BEGIN CERTIFICATE"
    )]
    Certificate {
        /// The key that names it.
        key: &'static str,
    },
    /// No key in the file. What the file holds is not told.
    #[error(
        "tls_server_config: key_file holds no unencrypted PEM key; name a file that begins with BEGIN PRIVATE KEY"
    )]
    Key,
    /// The key belongs to another certificate, or is of a kind that cannot be used.
    #[error("tls_server_config: the certificate and the key cannot be used together")]
    Pair(#[source] Error),
    /// Versions without a suite.
    #[error(
        "tls_server_config: no cipher suite is left for these versions; add one to cipher_suites"
    )]
    Versions(#[source] Error),
    /// A CA that cannot be trusted.
    #[error("tls_server_config: client_ca_file holds a certificate that cannot be a CA")]
    Authority(#[source] Error),
    /// Client certificates cannot be verified.
    #[error("tls_server_config: clients' certificates cannot be verified with client_ca_file")]
    Clients(#[source] VerifierBuilderError),
}

/// TLS, ready to serve.
pub(super) struct Tls {
    pub(super) server: Arc<ServerConfig>,
    /// When the first certificate of the chain ends, of those that say so in a form that can be
    /// read: with any of them the whole chain ends.
    pub(super) not_after: Option<UnixMillis>,
}

/// Makes TLS as the file asks for it.
pub(super) fn tls(file: &TlsFile) -> Result<Tls, TlsError> {
    let provider = Arc::new(provider(file));
    let chain = certificates(&file.certificate, "cert_file")?;
    let key = PrivateKeyDer::from_pem_slice(file.key.expose_secret().as_bytes())
        // Not as a source: it quotes the line that it could not read.
        .map_err(|_| TlsError::Key)?;
    let not_after = chain.iter().filter_map(ends).min();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(file))
        .map_err(TlsError::Versions)?;
    let builder = match clients(file, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    server.ignore_client_order = file.server_order;
    Ok(Tls {
        server: Arc::new(server),
        not_after,
    })
}

fn provider(file: &TlsFile) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(wanted) = &file.suites {
        let named = |suite: &rustls::SupportedCipherSuite| {
            // rustls leaves "TLS_" to 1.2 and says "TLS13_" for the others.
            let name = format!("{:?}", suite.suite());
            name.starts_with("TLS13_") || wanted.iter().any(|wanted| wanted.0 == name)
        };
        provider.cipher_suites.retain(named);
    }
    if !file.curves.is_empty() {
        let all = std::mem::take(&mut provider.kx_groups);
        let of = |name: &str| {
            let rustls_name = match name {
                "CurveP256" => "secp256r1",
                "CurveP384" => "secp384r1",
                other => other,
            };
            let is = |group: &&&dyn rustls::crypto::SupportedKxGroup| {
                format!("{:?}", group.name()).eq_ignore_ascii_case(rustls_name)
            };
            all.iter().find(is).copied()
        };
        provider.kx_groups = file.curves.iter().filter_map(|curve| of(curve.0)).collect();
    }
    provider
}

fn versions(file: &TlsFile) -> &'static [&'static SupportedProtocolVersion] {
    use rustls::version::{TLS12, TLS13};
    const OLD: &[&SupportedProtocolVersion] = &[&TLS12];
    const NEW: &[&SupportedProtocolVersion] = &[&TLS13];
    const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    match (file.min, file.max) {
        (TlsVersion::Tls12, TlsVersion::Tls12) => OLD,
        (TlsVersion::Tls13, _) => NEW,
        (TlsVersion::Tls12, TlsVersion::Tls13) => BOTH,
    }
}

fn certificates(
    pem: &SecretString,
    key: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.expose_secret().as_bytes()).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Certificate { key }),
    }
}

fn clients(
    file: &TlsFile,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(ca) = file
        .client_ca
        .as_ref()
        .filter(|_| file.client_auth != ClientAuth::None)
    else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, "client_ca_file")? {
        roots.add(certificate).map_err(TlsError::Authority)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match file.client_auth {
        ClientAuth::VerifyIfGiven => builder.allow_unauthenticated(),
        _ => builder,
    };
    let chain = builder.build().map_err(TlsError::Clients)?;
    if file.allowed_sans.is_empty() {
        return Ok(Some(chain));
    }
    Ok(Some(Arc::new(Named {
        chain,
        allowed: file.allowed_sans.clone(),
    })))
}

fn ends(certificate: &CertificateDer<'static>) -> Option<UnixMillis> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(UnixMillis(seconds.saturating_mul(1_000)))
}

/// A good certificate that also has one of these names.
#[derive(Debug)]
struct Named {
    chain: Arc<dyn ClientCertVerifier>,
    allowed: Vec<String>,
}

impl Named {
    fn has_one(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return false;
        };
        let Ok(Some(names)) = certificate.subject_alternative_name() else {
            return false;
        };
        names.value.general_names.iter().any(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                self.allowed.iter().any(|allowed| allowed == name)
            }
            GeneralName::IPAddress(bytes) => address(bytes).is_some_and(|address| {
                let parsed = |allowed: &String| allowed.parse::<IpAddr>().ok();
                self.allowed
                    .iter()
                    .filter_map(parsed)
                    .any(|allowed| allowed == address)
            }),
            _ => false,
        })
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        if self.has_one(end_entity) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
