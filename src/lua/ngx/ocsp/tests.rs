//! Certificates and what is said of them, made up here.

use super::judge;
use super::request;
use crate::lua::fixture::eval;
use openssl::asn1::Asn1Integer;
use openssl::asn1::Asn1Object;
use openssl::asn1::Asn1OctetString;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::EcGroup;
use openssl::ec::EcKey;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ocsp::OcspResponse;
use openssl::ocsp::OcspResponseStatus;
use openssl::pkey::PKey;
use openssl::pkey::Private;
use openssl::sign::Signer;
use openssl::x509::X509;
use openssl::x509::X509Extension;
use openssl::x509::X509NameBuilder;

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn certificate(name: &str, key: &PKey<Private>, by: (&str, &PKey<Private>), url: &str) -> X509 {
    let named = |name: &str| {
        let mut builder = X509NameBuilder::new().unwrap();
        builder.append_entry_by_text("CN", name).unwrap();
        builder.build()
    };
    let mut made = X509::builder().unwrap();
    made.set_version(2).unwrap();
    let serial = BigNum::from_u32(name.len() as u32).unwrap();
    made.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    made.set_subject_name(&named(name)).unwrap();
    made.set_issuer_name(&named(by.0)).unwrap();
    made.set_pubkey(key).unwrap();
    made.set_not_before(&Asn1Time::from_str("20200101000000Z").unwrap()).unwrap();
    made.set_not_after(&Asn1Time::from_str("20990101000000Z").unwrap()).unwrap();
    if !url.is_empty() {
        // AuthorityInfoAccess: id-ad-ocsp at a URI.
        let at = value(0x86, &[url.as_bytes()]);
        let access = value(0x30, &[b"\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x01", &at]);
        let bytes = Asn1OctetString::new_from_bytes(&value(0x30, &[&access])).unwrap();
        let kind = Asn1Object::from_str("1.3.6.1.5.5.7.1.1").unwrap();
        let extension = X509Extension::new_from_der(&kind, false, &bytes).unwrap();
        made.append_extension2(&extension).unwrap();
    }
    made.sign(by.1, MessageDigest::sha256()).unwrap();
    made.build()
}

/// A DER value.
fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut der = vec![tag];
    match u8::try_from(body.len()) {
        Ok(length) if length < 0x80 => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        Err(_) => der.extend([0x82, (body.len() >> 8) as u8, body.len() as u8]),
    }
    der.extend(body);
    der
}

/// A leaf, who issued it, and the issuer's key.
struct Chain {
    leaf: X509,
    authority: X509,
    key: PKey<Private>,
}

impl Chain {
    fn new(url: &str) -> Self {
        let (own, key) = (self::key(), self::key());
        let authority = certificate("authority", &key, ("authority", &key), "");
        Self { leaf: certificate("leaf", &own, ("authority", &key), url), authority, key }
    }

    fn der(&self) -> Vec<u8> {
        [self.leaf.to_der().unwrap(), self.authority.to_der().unwrap()].concat()
    }

    /// What the authority says of the leaf (RFC 6960, section 4.2.1).
    fn response(&self, status: &[u8], until: &[u8], signer: &PKey<Private>) -> Vec<u8> {
        // OCSPRequest, TBSRequest, requestList, Request: then the CertID.
        let id = request(&self.der()).unwrap()[8..].to_vec();
        let time = |text: &[u8]| value(0x18, &[text]);
        let since = time(b"20200101000000Z");
        let until = value(0xa0, &[&time(until)]);
        let single = value(0x30, &[&id, status, &since, &until]);
        let name = self.authority.subject_name().to_der().unwrap();
        let said = value(0x30, &[&value(0xa1, &[&name]), &since, &value(0x30, &[&single])]);
        let mut signature = Signer::new(MessageDigest::sha256(), signer).unwrap();
        signature.update(&said).unwrap();
        let signature = value(0x03, &[&[0], &signature.sign_to_vec().unwrap()]);
        // ecdsa-with-SHA256
        let algorithm = value(0x30, &[b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"]);
        let basic = value(0x30, &[&said, &algorithm, &signature]);
        let kind = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
        let bytes = value(0x30, &[kind, &value(0x04, &[&basic])]);
        value(0x30, &[b"\x0a\x01\x00", &value(0xa0, &[&bytes])])
    }
}

const GOOD: &[u8] = b"\x80\x00";
const LATER: &[u8] = b"20990101000000Z";

#[test]
fn what_the_authority_says_is_judged() {
    let chain = Chain::new("");
    let (der, other) = (chain.der(), Chain::new(""));
    let fine = chain.response(GOOD, LATER, &chain.key);
    assert_eq!(judge(&fine, &der), Ok(()));
    let revoked = value(0xa1, &[&value(0x18, &[b"20210101000000Z"])]);
    let cases: [(Vec<u8>, &str); 5] = [
        (b"x".to_vec(), "d2i_OCSP_RESPONSE() failed"),
        (
            chain.response(&revoked, LATER, &chain.key),
            "certificate status \"revoked\" in the OCSP response",
        ),
        (
            chain.response(b"\x82\x00", LATER, &chain.key),
            "certificate status \"unknown\" in the OCSP response",
        ),
        (chain.response(GOOD, b"20210101000000Z", &chain.key), "OCSP_check_validity() failed"),
        (chain.response(GOOD, LATER, &other.key), "OCSP_basic_verify() failed"),
    ];
    for (response, fault) in cases {
        assert_eq!(judge(&response, &der), Err(fault.to_owned()));
    }
    let later = OcspResponse::create(OcspResponseStatus::TRY_LATER, None).unwrap();
    let text = "OCSP response not successful (3: trylater)";
    assert_eq!(judge(&later.to_der().unwrap(), &der), Err(text.to_owned()));
    let alone = chain.leaf.to_der().unwrap();
    assert_eq!(judge(&fine, &alone), Err("no issuer certificate in chain".to_owned()));
    let wrong = [other.authority.to_der().unwrap(), chain.authority.to_der().unwrap()].concat();
    let text = "certificate status not found in the OCSP response";
    assert_eq!(judge(&fine, &wrong), Err(text.to_owned()));
}

/// A Lua string.
fn text(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|it| format!("\\{it:03}")).collect();
    format!("'{}'", digits.concat())
}

#[test]
fn scripts_ask_and_judge() {
    let chain = Chain::new("http://ocsp.test/x");
    let (leaf, authority) = (chain.leaf.to_der().unwrap(), chain.authority.to_der().unwrap());
    let (both, alone) = (text(&chain.der()), text(&leaf));
    let twice = text(&[leaf.clone(), leaf.clone()].concat());
    let length = request(&chain.der()).unwrap().len();
    let fine = text(&chain.response(GOOD, LATER, &chain.key));
    let small = format!("nil | output buffer too small: {length} > 9");
    let length = length.to_string();
    let responder = "get_ocsp_responder_from_der_chain";
    for (call, expected) in [
        (format!("{responder}({both})"), "http://ocsp.test/x"),
        (format!("{responder}({both}, 11)"), "http://ocsp | truncated"),
        (format!("{responder}({alone})"), "nil | no issuer certificate in chain"),
        (format!("{responder}({twice})"), "nil | issuer certificate not next to leaf"),
        (format!("{responder}({})", text(&authority)), "nil"),
        (format!("{responder}('x')"), "nil | d2i_X509_bio() failed"),
        (format!("create_ocsp_request({both}):len()"), &*length),
        (format!("create_ocsp_request({both}, 9)"), &*small),
        (format!("create_ocsp_request({alone})"), "nil | no issuer certificate in chain"),
        (format!("validate_ocsp_response({fine}, {both})"), "true"),
        (format!("validate_ocsp_response('x', {both}, 12)"), "nil | d2i_OCSP_RES"),
    ] {
        assert_eq!(eval(&format!("return require('ngx.ocsp').{call}")), expected, "{call}");
    }
}
