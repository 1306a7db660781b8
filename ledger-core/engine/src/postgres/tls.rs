//! What the URL of a Postgres says about TLS, and connections made accordingly.
//!
//! `sslmode=prefer`, the default, uses TLS where the server offers it and trusts whoever answers, as libpq does. Every
//! stronger mode is a `verify-full` here: the certificate has to be for the host's name, and from an authority that the
//! system trusts or, where the URL has a `sslrootcert=FILE`, from one in this file. On a Unix socket there is no TLS.

use std::path::PathBuf;

use deadpool_postgres::tokio_postgres::{
    Config, Error, Socket,
    config::{Host, SslMode},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    log::percent_decoded,
    tls::{TlsError, Trust, client_trusting_anybody},
};

/// Certificates are read when a connection is made: a renewed file needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Anybody,
    System,
    File(PathBuf),
}

impl Tls {
    fn connector(&self) -> Result<MakeRustlsConnect, TlsError> {
        let config = match self {
            Self::Anybody => client_trusting_anybody()?,
            Self::System => Trust::system().client()?,
            Self::File(path) => Trust::nobody().and_file(path)?.client()?,
        };
        Ok(MakeRustlsConnect::new(config))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = TlsError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let Ok(connect) = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.connector()?, host);
        Ok(connect)
    }
}

/// Reads a URL, of which tokio-postgres knows neither the modes above `require` nor `sslrootcert`.
pub(super) fn read(url: &str) -> Result<(Config, Tls), Error> {
    let (address, settings) = url.rsplit_once('?').unzip();
    let (mut known, mut file) = (Vec::new(), None);
    for setting in settings.unwrap_or_default().split('&') {
        match setting.split_once('=') {
            Some(("sslmode", "verify-ca" | "verify-full")) => known.push("sslmode=require"),
            Some(("sslrootcert", path)) => file = Some(percent_decoded(path).unwrap_or_else(|| path.to_owned())),
            Some(_) | None => known.push(setting),
        }
    }
    let mut config: Config = match address {
        Some(address) => format!("{address}?{}", known.join("&")).parse()?,
        None => url.parse()?,
    };
    if config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) {
        config.ssl_mode(SslMode::Disable);
    }
    // Who names an authority does not mean to go without.
    if file.is_some() && config.get_ssl_mode() == SslMode::Prefer {
        config.ssl_mode(SslMode::Require);
    }
    let tls = match (config.get_ssl_mode(), file) {
        (SslMode::Disable | SslMode::Prefer, _) => Tls::Anybody,
        (_, Some(path)) if path != "system" => Tls::File(path.into()),
        (_, Some(_) | None) => Tls::System,
    };
    Ok((config, tls))
}

#[cfg(test)]
mod tests;
