//! Certificates: whom the push trusts, and how it proves who it is.

use std::path::Path;
use std::sync::Arc;

use genesys_cloud_exporter::catalog::ExportResult;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::sink::Sink;
use super::{PROTOCOLS, Pushing};
use crate::view;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for this machine, and its key.
fn certificate(authority: &Authority) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

/// A server that shows a certificate of `authority` and wants one of it in return.
fn server(authority: &Authority) -> Arc<ServerConfig> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let (certificate, key) = certificate(authority);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn write(directory: &TempDir, name: &str, text: &str) -> String {
    let path = Path::new(directory.path()).join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_those_of_the_standard_variables() {
    let (ours, strange) = (authority(), authority());
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(&ours);
    let certificate = write(&directory, "own.pem", &certificate.pem());
    let key = write(&directory, "own.key", &key.serialize_pem());
    let trusted = write(&directory, "ca.pem", &ours.pem());
    let untrusted = write(&directory, "strange.pem", &strange.pem());
    let sink = Sink::start_with(Some(server(&ours))).await;
    for protocol in PROTOCOLS {
        let address = if protocol == "grpc" {
            sink.grpc
        } else {
            sink.http
        };
        let endpoint = format!("https://{address}");
        let own = [
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &*certificate),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &*key),
        ];
        let authority = |path| ("OTEL_EXPORTER_OTLP_CERTIFICATE", path);
        for (variables, result) in [
            (
                vec![authority(&*trusted), own[0], own[1]],
                ExportResult::Success,
            ),
            (
                vec![authority(&*untrusted), own[0], own[1]],
                ExportResult::Failed,
            ),
            // The system does not know our authority.
            (vec![own[0], own[1]], ExportResult::Failed),
            // The server wants to know who we are.
            (vec![authority(&*trusted)], ExportResult::Failed),
        ] {
            let settings = "interval: 500ms";
            let pushing = Pushing::to(&endpoint, protocol, view::small(), settings, &variables);
            pushing.exported(result, 1.0).await;
            let others = ExportResult::ALL.iter().filter(|other| **other != result);
            assert!(
                others
                    .into_iter()
                    .all(|other| pushing.exports(*other) == 0.0)
            );
            pushing.end().await;
        }
    }
}
