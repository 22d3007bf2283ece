//! Certificates, keys and parameters: read through the seam of `sys::open`, refused in nginx's
//! words.

use super::words::queue;
use crate::clock;
use crate::config::diagnostic::{At, Diagnostic, Diagnostics};
use crate::config::model::PlacedText;
use crate::sys::open;
use crate::sys::openssl as unwrapped;
use openssl::asn1::Asn1Time;
use openssl::dh::Dh;
use openssl::error::ErrorStack;
use openssl::ocsp::OcspResponse;
use openssl::pkey::{PKey, Params, Private};
use openssl::ssl::SslContextBuilder;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{X509, X509Ref};
use std::path::{Path, PathBuf};

/// Reads the files that a configuration names; what is wrong with them is told at their directive.
#[derive(Debug)]
pub struct Files<'a> {
    /// What names of files are relative to: the folder of the configuration.
    pub base: &'a Path,
    /// Where faults go.
    pub diagnostics: &'a mut Diagnostics,
}

impl Files<'_> {
    /// A fault at `at`.
    pub fn fault(&mut self, at: &At, message: impl Into<String>) {
        self.diagnostics.fault(at, message);
    }

    /// What `result` holds, else a fault at `at`: `what failed (SSL: …)`.
    pub(super) fn check<T>(
        &mut self,
        at: &At,
        what: &str,
        result: Result<T, ErrorStack>,
    ) -> Option<T> {
        result.map_err(|it| self.fault(at, format!("{what} failed{}", queue(&it)))).ok()
    }

    fn path(&self, file: &PlacedText) -> PathBuf {
        open::under(self.base, Path::new(&file.text))
    }

    /// The bytes of a file; `what` says for what they were wanted, up to its name.
    fn read(&mut self, file: &PlacedText, what: &str) -> Option<Vec<u8>> {
        let path = self.path(file);
        let opened = open::contents(&path).map_err(|failure| {
            let reason = crate::sys::errno::Errno(&failure.error).to_string();
            let path = path.display();
            self.fault(&file.at, format!("{what}\"{path}\": BIO_new_file() failed {reason}"));
        });
        opened.ok()
    }

    /// All certificates of a PEM file, of which there is one at least.
    pub(super) fn certificates(&mut self, file: &PlacedText) -> Option<Vec<X509>> {
        const WHAT: &str = "cannot load certificate ";
        let pem = self.read(file, WHAT)?;
        let path = self.path(file);
        let failed = format!("{WHAT}\"{}\": PEM_read_bio_X509_AUX()", path.display());
        let found = self.check(&file.at, &failed, X509::stack_from_pem(&pem))?;
        if found.is_empty() {
            let reason = "(SSL: error:0480006C:PEM routines::no start line:Expecting: TRUSTED \
                          CERTIFICATE)";
            self.fault(&file.at, format!("{failed} failed {reason}"));
            return None;
        }
        Some(found)
    }

    /// The key of a PEM file, by one of `passwords` where it has one.
    fn key(&mut self, file: &PlacedText, passwords: &[Vec<u8>]) -> Option<PKey<Private>> {
        const WHAT: &str = "cannot load certificate key ";
        let pem = self.read(file, WHAT)?;
        let failed = format!("{WHAT}\"{}\": PEM_read_bio_PrivateKey()", self.path(file).display());
        let with = |password: &[u8]| {
            PKey::private_key_from_pem_callback(&pem, |room| {
                let length = password.len().min(room.len());
                room[..length].copy_from_slice(&password[..length]);
                Ok(length)
            })
        };
        let mut found = with(passwords.first().map_or(&[], |it| it));
        for password in passwords.iter().skip(1) {
            found = found.or_else(|_| with(password));
        }
        self.check(&file.at, &failed, found)
    }

    /// The passwords of a file, one a line.
    pub(super) fn passwords(&mut self, file: Option<&PlacedText>) -> Vec<Vec<u8>> {
        let Some(file) = file else { return Vec::new() };
        match open::contents(&self.path(file)) {
            Ok(bytes) => {
                let lines = bytes.split(|it| *it == b'\n');
                let lines = lines.map(|it| it.strip_suffix(b"\r").unwrap_or(it).to_vec());
                lines.filter(|it| !it.is_empty()).collect()
            }
            Err(failure) => {
                self.fault(&file.at, failure.to_string());
                Vec::new()
            }
        }
    }

    /// Gives `context` a certificate with its chain and its key; `None` after a fault. The
    /// certificate comes back.
    pub(super) fn identity(
        &mut self,
        context: &mut SslContextBuilder,
        certificate: &PlacedText,
        key: &PlacedText,
        passwords: &[Vec<u8>],
    ) -> Option<X509> {
        let chain = self.certificates(certificate);
        let private = self.key(key, passwords);
        let (chain, private) = (chain?, private?);
        let (own, chain) = chain.split_first()?;
        let shown = self.path(certificate).display().to_string();
        let used = context.set_certificate(own);
        self.check(&certificate.at, &format!("SSL_CTX_use_certificate(\"{shown}\")"), used)?;
        for issuer in chain {
            let added = unwrapped::add_chain(context, issuer);
            self.check(&certificate.at, &format!("SSL_CTX_add0_chain_cert(\"{shown}\")"), added)?;
        }
        self.warn_of_expiry(certificate, own);
        let failed = format!("SSL_CTX_use_PrivateKey(\"{}\")", self.path(key).display());
        // OpenSSL itself would take a key of another kind for another certificate's.
        if !own.public_key().is_ok_and(|it| it.public_eq(&private)) {
            let reason = "(SSL: error:05800074:x509 certificate routines::key values mismatch)";
            self.fault(&key.at, format!("{failed} failed {reason}"));
            return None;
        }
        self.check(&key.at, &failed, context.set_private_key(&private))?;
        Some(own.clone())
    }

    /// nginx serves a certificate that is past its date, clients refuse it.
    fn warn_of_expiry(&mut self, file: &PlacedText, certificate: &X509Ref) {
        let now = i64::try_from(clock::unix_ms() / 1000).unwrap_or(i64::MAX);
        let Ok(now) = Asn1Time::from_unix(now) else { return };
        let path = self.path(file).display().to_string();
        let when = if *certificate.not_after() < *now {
            format!("has expired: it was good until {}", certificate.not_after())
        } else if *certificate.not_before() > *now {
            format!("is not yet valid: it will be from {}", certificate.not_before())
        } else {
            return;
        };
        let message = format!("certificate \"{path}\" {when}");
        self.diagnostics.push(Diagnostic::warning(&file.at, message));
    }

    /// A store of those who may sign, and who they are.
    pub(super) fn trusted(&mut self, files: &[&PlacedText]) -> Option<(X509Store, Vec<X509>)> {
        let at = &files.first()?.at;
        let store = X509StoreBuilder::new();
        let mut store = self.check(at, "X509_STORE_new()", store)?;
        let mut all = Vec::new();
        for file in files {
            let found = self.certificates(file)?;
            let failed = format!("X509_STORE_add_cert(\"{}\")", self.path(file).display());
            for certificate in &found {
                self.check(&file.at, &failed, store.add_cert(certificate.clone()))?;
            }
            all.extend(found);
        }
        Some((store.build(), all))
    }

    /// The response in a file of `ssl_stapling_file`.
    pub(super) fn ocsp_response(&mut self, file: &PlacedText) -> Option<Vec<u8>> {
        let path = self.path(file).display().to_string();
        let der = match open::contents(&self.path(file)) {
            Ok(der) => der,
            Err(failure) => {
                let reason = crate::sys::errno::Errno(&failure.error).to_string();
                self.fault(&file.at, format!("BIO_new_file(\"{path}\", \"rb\") failed {reason}"));
                return None;
            }
        };
        let failed = format!("d2i_OCSP_RESPONSE_bio(\"{path}\")");
        self.check(&file.at, &failed, OcspResponse::from_der(&der))?;
        Some(der)
    }

    /// The parameters of `ssl_dhparam`.
    pub(super) fn parameters(&mut self, file: &PlacedText) -> Option<Dh<Params>> {
        let path = self.path(file).display().to_string();
        let pem = match open::contents(&self.path(file)) {
            Ok(pem) => pem,
            Err(failure) => {
                let reason = crate::sys::errno::Errno(&failure.error).to_string();
                self.fault(&file.at, format!("BIO_new_file(\"{path}\") failed {reason}"));
                return None;
            }
        };
        let failed = format!("PEM_read_bio_DHparams(\"{path}\")");
        self.check(&file.at, &failed, Dh::params_from_pem(&pem))
    }
}
