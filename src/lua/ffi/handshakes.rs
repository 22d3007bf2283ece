//! What a script changes of a handshake by lua-nginx-module's C functions, through LuaJIT's ffi.

use crate::lua::ffi::certificates::ERROR;
use crate::lua::ffi::certificates::copied_chain;
use crate::lua::ffi::certificates::copied_key;
use crate::lua::ffi::certificates::refuse;
use crate::lua::ffi::certificates::slice;
use crate::lua::ngx::ssl::Shared;
use crate::lua::ngx::ssl::chain_of_der;
use crate::tls::Handshake;
use openssl::pkey::PKey;
use std::cell::RefCell;
use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::rc::Rc;
use std::rc::Weak;

/// nginx's `NGX_OK`.
const OK: c_int = 0;

/// The address of a request, and its handshake.
type Known = (usize, Weak<RefCell<Handshake>>);

thread_local! {
    /// Handshakes whose scripts have asked for their request, by its address.
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// Lets C find `handshake` by `request`, the address of its request.
pub fn make_known(request: usize, handshake: &Shared) {
    KNOWN.with_borrow_mut(|known| {
        known.retain(|it| it.0 != request && it.1.strong_count() > 0);
        known.push((request, Rc::downgrade(handshake)));
    });
}

fn handshake_of(request: *mut c_void) -> Option<Shared> {
    let is_it = |it: &&Known| it.0 == request as usize;
    KNOWN.with_borrow(|known| known.iter().find(is_it).and_then(|it| it.1.upgrade()))
}

/// Changes the handshake of `request`; -1 with `why` where there is none or `change` says so.
///
/// # Safety
/// `why` can be written.
unsafe fn change(
    request: *mut c_void,
    why: *mut *const c_char,
    change: impl FnOnce(&mut Handshake) -> Result<(), &'static CStr>,
) -> c_int {
    let Some(handshake) = handshake_of(request) else {
        // SAFETY: the caller's promise.
        return unsafe { refuse(why, c"bad request", ERROR) };
    };
    match change(&mut handshake.borrow_mut()) {
        Ok(()) => OK,
        // SAFETY: the caller's promise.
        Err(text) => unsafe { refuse(why, text, ERROR) },
    }
}

/// Takes the certificates and the key that are configured away.
///
/// # Safety
/// `why` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_ssl_clear_certs(
    request: *mut c_void,
    why: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        change(request, why, |it| {
            it.wanted.clear_certificates();
            Ok(())
        })
    }
}

/// Shows these certificates.
///
/// # Safety
/// `length` bytes can be read at `der`; `why` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_ssl_set_der_certificate(
    request: *mut c_void,
    der: *const u8,
    length: usize,
    why: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promises.
    unsafe {
        change(request, why, |it| {
            it.wanted.chain = chain_of_der(slice(der, length)).ok_or(c"d2i_X509_bio() failed")?;
            Ok(())
        })
    }
}

/// Proves to be them by this key.
///
/// # Safety
/// As of certificates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_ssl_set_der_private_key(
    request: *mut c_void,
    der: *const u8,
    length: usize,
    why: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promises.
    unsafe {
        change(request, why, |it| {
            let key = PKey::private_key_from_der(slice(der, length));
            it.wanted.key = Some(key.map_err(|_| c"d2i_PrivateKey_bio() failed")?);
            Ok(())
        })
    }
}

/// Shows the certificates that `chain` has.
///
/// # Safety
/// `chain` is null or a live `STACK_OF(X509) *`; `why` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_set_cert(
    request: *mut c_void,
    chain: *mut c_void,
    why: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promises.
    unsafe {
        change(request, why, |it| {
            let chain = copied_chain(chain).filter(|it| !it.is_empty());
            it.wanted.chain = chain.ok_or(c"invalid certificate chain")?;
            Ok(())
        })
    }
}

/// Proves to be them by the key `key`.
///
/// # Safety
/// `key` is null or a live `EVP_PKEY *`; `why` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_set_priv_key(
    request: *mut c_void,
    key: *mut c_void,
    why: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promises.
    unsafe {
        change(request, why, |it| {
            it.wanted.key = Some(copied_key(key).ok_or(c"SSL_use_PrivateKey() failed")?);
            Ok(())
        })
    }
}

/// Asks the client for a certificate by these authorities, so deep; -1 is the configured depth.
///
/// # Safety
/// As of `ngx_http_lua_ffi_set_cert`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_ssl_verify_client(
    request: *mut c_void,
    authorities: *mut c_void,
    depth: c_int,
    why: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promises.
    unsafe {
        change(request, why, |it| {
            let authorities = copied_chain(authorities).unwrap_or_default();
            it.wanted.verify = Some((authorities, u32::try_from(depth).ok()));
            Ok(())
        })
    }
}
