//! Certificates and keys as pointers of OpenSSL's, which scripts hold as cdata: the C functions of
//! lua-nginx-module by these names, which `ngx.ssl` and libraries call through LuaJIT's ffi.

use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::object::Object;
use crate::lua::ngx::ssl::Chain;
use crate::lua::ngx::ssl::chain_of_der;
use crate::lua::ngx::ssl::chain_of_pem;
use crate::lua::ngx::ssl::der_of_chain;
use foreign_types::ForeignType;
use foreign_types::ForeignTypeRef;
use openssl::pkey::PKey;
use openssl::pkey::PKeyRef;
use openssl::pkey::Private;
use openssl::stack::Stack;
use openssl::stack::StackRef;
use openssl::x509::X509;
use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::rc::Rc;

/// nginx's `NGX_ERROR`.
pub(super) const ERROR: c_int = -1;

functions! {
    /// What the prelude needs to hand pointers to the rest of the API.
    pub NATIVE "native.ssl" {
        chain_at: ANY => chain_at,
        key_at: ANY => key_at,
    }
}

/// `chain_at(pointer)`: a copy of the chain there, as an object.
fn chain_at(call: &Call<'_>) -> ApiResult {
    // SAFETY: the prelude gives what the cdata holds that `ngx_http_lua_ffi_parse_*_cert` made, or
    // a library's own `STACK_OF(X509) *`: as much to be trusted as any use of ffi.
    let chain = unsafe { copied_chain(call.integer(1)? as *mut c_void) };
    call.reply(chain.map(|it| Object(Rc::new(it))))
}

/// `key_at(pointer)`: the private key there, as an object.
fn key_at(call: &Call<'_>) -> ApiResult {
    // SAFETY: as in `chain_at`, for `EVP_PKEY *`.
    let key = unsafe { copied_key(call.integer(1)? as *mut c_void) };
    call.reply(key.map(|it| Object(Rc::new(it))))
}

/// # Safety
/// `chain` is null or a live `STACK_OF(X509) *`.
pub(super) unsafe fn copied_chain(chain: *mut c_void) -> Option<Chain> {
    if chain.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let chain = unsafe { StackRef::<X509>::from_ptr(chain.cast()) };
    Some(chain.iter().map(|it| it.to_owned()).collect())
}

/// # Safety
/// `key` is null or a live `EVP_PKEY *`.
pub(super) unsafe fn copied_key(key: *mut c_void) -> Option<PKey<Private>> {
    if key.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let key: &PKeyRef<Private> = unsafe { PKeyRef::from_ptr(key.cast()) };
    Some(key.to_owned())
}

/// # Safety
/// `length` bytes can be read at `bytes`, for as long as the result lives.
pub(super) unsafe fn slice<'a>(bytes: *const u8, length: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(bytes, length) }
}

/// Says `text` to whoever asks why; gives what says that it failed.
///
/// # Safety
/// `why` can be written.
pub(super) unsafe fn refuse<T>(why: *mut *const c_char, text: &'static CStr, failed: T) -> T {
    // SAFETY: the caller's promise.
    unsafe { *why = text.as_ptr() };
    failed
}

/// Gives the ownership of `chain` away; null with `text` where there is none.
///
/// # Safety
/// `why` can be written.
unsafe fn given_chain(
    chain: Option<Chain>,
    why: *mut *const c_char,
    text: &'static CStr,
) -> *mut c_void {
    let stacked = chain.zip(Stack::new().ok()).and_then(|(chain, mut stack)| {
        chain.into_iter().try_for_each(|it| stack.push(it)).ok()?;
        Some(std::mem::ManuallyDrop::new(stack).as_ptr().cast())
    });
    // SAFETY: the caller's promise.
    stacked.unwrap_or_else(|| unsafe { refuse(why, text, std::ptr::null_mut()) })
}

/// The same of a key.
///
/// # Safety
/// `why` can be written.
unsafe fn given_key(
    key: Option<PKey<Private>>,
    why: *mut *const c_char,
    text: &'static CStr,
) -> *mut c_void {
    match key {
        Some(key) => std::mem::ManuallyDrop::new(key).as_ptr().cast(),
        // SAFETY: the caller's promise.
        None => unsafe { refuse(why, text, std::ptr::null_mut()) },
    }
}

/// A chain of PEM certificates, to be freed by `ngx_http_lua_ffi_free_cert`; null with `why`.
///
/// # Safety
/// `length` bytes can be read at `pem`; `why` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_parse_pem_cert(
    pem: *const u8,
    length: usize,
    why: *mut *const c_char,
) -> *mut c_void {
    // SAFETY: the caller's promises.
    unsafe { given_chain(chain_of_pem(slice(pem, length)), why, c"PEM_read_bio_X509() failed") }
}

/// The same of DER, one behind the other.
///
/// # Safety
/// As of PEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_parse_der_cert(
    der: *const u8,
    length: usize,
    why: *mut *const c_char,
) -> *mut c_void {
    // SAFETY: the caller's promises.
    unsafe { given_chain(chain_of_der(slice(der, length)), why, c"d2i_X509_bio() failed") }
}

/// A private key of PEM, to be freed by `ngx_http_lua_ffi_free_priv_key`; null with `why`.
///
/// # Safety
/// As of certificates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_parse_pem_priv_key(
    pem: *const u8,
    length: usize,
    why: *mut *const c_char,
) -> *mut c_void {
    // SAFETY: the caller's promises. With no password at hand none is asked for on the terminal.
    unsafe {
        let key = PKey::private_key_from_pem_passphrase(slice(pem, length), b"");
        given_key(key.ok(), why, c"PEM_read_bio_PrivateKey() failed")
    }
}

/// The same of DER.
///
/// # Safety
/// As of certificates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_parse_der_priv_key(
    der: *const u8,
    length: usize,
    why: *mut *const c_char,
) -> *mut c_void {
    // SAFETY: the caller's promises.
    unsafe {
        let key = PKey::private_key_from_der(slice(der, length));
        given_key(key.ok(), why, c"d2i_PrivateKey_bio() failed")
    }
}

/// Frees a chain.
///
/// # Safety
/// `chain` came of `ngx_http_lua_ffi_parse_*_cert`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_free_cert(chain: *mut c_void) {
    // SAFETY: the caller's promise.
    drop(unsafe { Stack::<X509>::from_ptr(chain.cast()) });
}

/// Frees a private key.
///
/// # Safety
/// `key` came of `ngx_http_lua_ffi_parse_*_priv_key`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_free_priv_key(key: *mut c_void) {
    // SAFETY: the caller's promise.
    drop(unsafe { PKey::<Private>::from_ptr(key.cast()) });
}

/// Writes DER of the PEM certificates to `der`, which is shorter; gives its length, or -1.
///
/// # Safety
/// `length` bytes can be read at `pem` and written at `der`; `why` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_cert_pem_to_der(
    pem: *const u8,
    length: usize,
    der: *mut u8,
    why: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promises.
    unsafe {
        match chain_of_pem(slice(pem, length)).and_then(|it| der_of_chain(&it)) {
            Some(bytes) if bytes.len() <= length => written(&bytes, der),
            _ => refuse(why, c"PEM_read_bio_X509_AUX() failed", ERROR),
        }
    }
}

/// Writes DER of the PEM key to `der`; gives its length, or -1.
///
/// # Safety
/// As of certificates; `password` is null or ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ngx_http_lua_ffi_priv_key_pem_to_der(
    pem: *const u8,
    length: usize,
    password: *const c_char,
    der: *mut u8,
    why: *mut *const c_char,
) -> c_int {
    // SAFETY: the caller's promises.
    unsafe {
        let password = if password.is_null() { &[] } else { CStr::from_ptr(password).to_bytes() };
        let key = PKey::private_key_from_pem_passphrase(slice(pem, length), password);
        match key.and_then(|it| it.private_key_to_der()) {
            Ok(bytes) if bytes.len() <= length => written(&bytes, der),
            _ => refuse(why, c"PEM_read_bio_PrivateKey() failed", ERROR),
        }
    }
}

/// # Safety
/// So many bytes can be written at `target`.
unsafe fn written(bytes: &[u8], target: *mut u8) -> c_int {
    // SAFETY: the caller's promise; `bytes` are our own.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    c_int::try_from(bytes.len()).unwrap_or(ERROR)
}
