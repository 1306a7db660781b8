//! What every HTTP client of ours begins with.

use engine::tls::{TlsError, Trust};
use reqwest::{Client, ClientBuilder};

/// A client with TLS, which reqwest alone could not build. The addresses that we are given are meant as they stand: no
/// proxy from the environment.
///
/// # Errors
/// As [`Trust::client`].
#[allow(clippy::disallowed_methods)] // The one place.
pub fn client(trust: Trust) -> Result<ClientBuilder, TlsError> {
    Ok(Client::builder().no_proxy().tls_backend_preconfigured(trust.client()?))
}
