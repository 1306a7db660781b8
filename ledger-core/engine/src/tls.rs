//! TLS for what we call, Postgres and services over HTTP: rustls, with ring for its ciphers. Kafka's client brings its
//! own (the feature `kafka-tls`).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificates in {} cannot be read", path.display())]
    File { path: PathBuf, source: pem::Error },
    #[error("a certificate in {} cannot be used", path.display())]
    Certificate { path: PathBuf, source: Error },
    #[error("TLS cannot be set up")]
    Setup(#[from] Error),
}

/// Whose signature under a server's certificate counts.
#[derive(Clone, Debug)]
pub struct Trust(RootCertStore);

impl Trust {
    pub fn nobody() -> Self {
        Self(RootCertStore::empty())
    }

    /// Whom this system trusts, or the file or folder in `SSL_CERT_FILE` or `SSL_CERT_DIR`. If that is nobody, each
    /// server will be refused.
    pub fn system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors {
            tracing::warn!(%error, "the system's certificates cannot be read");
        }
        let mut trust = Self::nobody();
        trust.0.add_parsable_certificates(found.certs);
        trust
    }

    /// Adds the authorities in a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, holds no certificate, or one that is broken.
    pub fn and_file(mut self, path: &Path) -> Result<Self, TlsError> {
        let unreadable = |source| TlsError::File { path: path.to_owned(), source };
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let found = found.map_err(unreadable)?;
        if found.is_empty() {
            return Err(unreadable(pem::Error::NoItemsFound));
        }
        for certificate in found {
            let added = self.0.add(certificate);
            added.map_err(|source| TlsError::Certificate { path: path.to_owned(), source })?;
        }
        Ok(self)
    }

    /// Servers have to show a certificate for their name from one of these authorities.
    ///
    /// # Errors
    /// None that a setting could cause.
    pub fn client(self) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(self.0).with_no_client_auth())
    }
}

/// For connections that might as well be in the clear: nobody can listen in, but anybody can be at the other end.
///
/// # Errors
/// None that a setting could cause.
pub fn client_trusting_anybody() -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let anybody = Arc::new(Anybody(provider));
    Ok(builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth())
}

/// Takes any certificate; whoever shows it must still have its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
