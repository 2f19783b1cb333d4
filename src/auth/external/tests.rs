//! Tokens of other issuers that are almost valid, and the fetching of keys.

use std::io::Write;
use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header as Jose};
use parking_lot::Mutex as Lock;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::auth::{Auth, AuthSecret, Options};
use crate::config::Config;
use crate::store::Notice;
use crate::store::faulty::{Call, Faulty};
use crate::store::memory::MemoryStore;

const NOW: UnixMillis = UnixMillis(1_767_225_600_500);
const SECOND: Duration = Duration::from_secs(1);

struct TestKey {
    algorithm: Algorithm,
    signing: EncodingKey,
    public: Value,
    pem: String,
}

static RSA: LazyLock<TestKey> = LazyLock::new(|| {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let (modulus, exponent) = rsa_numbers(pair.der_bytes());
    let signing = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let public = json!({"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": modulus, "e": exponent});
    TestKey {
        algorithm: Algorithm::RS256,
        signing,
        public,
        pem: pair.public_key_pem(),
    }
});

static EC: LazyLock<TestKey> = LazyLock::new(|| {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let point = pair.der_bytes();
    let (x, y) = (
        BASE64URL_NOPAD.encode(&point[1..33]),
        BASE64URL_NOPAD.encode(&point[33..]),
    );
    let signing = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let public = json!({"kty": "EC", "kid": "ec", "crv": "P-256", "x": x, "y": y});
    TestKey {
        algorithm: Algorithm::ES256,
        signing,
        public,
        pem: pair.public_key_pem(),
    }
});

static ED: LazyLock<TestKey> = LazyLock::new(|| {
    let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let x = BASE64URL_NOPAD.encode(pair.der_bytes());
    let signing = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let public =
        json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": x, "key_ops": ["verify"]});
    TestKey {
        algorithm: Algorithm::EdDSA,
        signing,
        public,
        pem: pair.public_key_pem(),
    }
});

/// Returns modulus and exponent of a DER RSAPublicKey (RFC 8017, appendix A.1.1).
fn rsa_numbers(der: &[u8]) -> (String, String) {
    fn value(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, rest) = match der[1] {
            0x81 => (usize::from(der[2]), &der[3..]),
            0x82 => (usize::from(der[2]) << 8 | usize::from(der[3]), &der[4..]),
            short => (usize::from(short), &der[2..]),
        };
        rest.split_at(length)
    }
    let (modulus, rest) = value(value(der).0);
    let (exponent, _) = value(rest);
    let text = |number: &[u8]| {
        let start = number.iter().take_while(|byte| **byte == 0).count();
        BASE64URL_NOPAD.encode(&number[start..])
    };
    (text(modulus), text(exponent))
}

fn options(jwks: JwksSource) -> IssuerOptions {
    IssuerOptions {
        issuer: "https://host.example".into(),
        audience: "raids".into(),
        jwks,
        subject_claim: "sub".into(),
        name_claim: "name".into(),
        external_id_prefix: String::new(),
        scope_claim: None,
        lifetime_max: SECOND * 3600,
    }
}

fn auth(issuer: IssuerOptions) -> Auth {
    Auth::new(
        &AuthSecret::new([7; 32]).expect("long enough"),
        Options {
            issuers: vec![issuer],
            ..Config::default().auth
        },
    )
}

fn write_key_file(keys: &[Value]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(json!({ "keys": keys }).to_string().as_bytes())
        .expect("written");
    file
}

fn all_keys() -> Vec<Value> {
    vec![RSA.public.clone(), EC.public.clone(), ED.public.clone()]
}

/// An [`Auth`] that accepts the tokens of an issuer with these keys, and its store.
struct IssuerFixture {
    auth: Auth,
    store: Faulty<MemoryStore>,
    _file: NamedTempFile,
}

impl IssuerFixture {
    fn new(keys: &[Value]) -> IssuerFixture {
        IssuerFixture::with(keys, |_| {})
    }

    fn with(keys: &[Value], change: impl FnOnce(&mut IssuerOptions)) -> IssuerFixture {
        let file = write_key_file(keys);
        let mut options = options(JwksSource::File(file.path().to_owned()));
        change(&mut options);
        IssuerFixture {
            auth: auth(options),
            store: Faulty::<MemoryStore>::default(),
            _file: file,
        }
    }

    async fn authenticate(&self, token: &str) -> Result<Identity, Error> {
        self.auth.authenticate(&self.store, token, NOW).await
    }

    async fn assert_refused(&self, what: &str, token: &str) {
        // Soon after a fetch, a token with an unknown key is not refused for good.
        forget_last_fetch(&self.auth).await;
        assert_eq!(
            self.authenticate(token).await,
            Err(TOKEN_NOT_VALID),
            "{what}"
        );
        assert_eq!(
            self.store.faults().call_count(Call::FindOrCreateByIdentity),
            0,
            "{what} creates no player"
        );
    }
}

/// Allows a fetch of keys at once.
async fn forget_last_fetch(auth: &Auth) {
    for issuer in &auth.0.external_tokens.issuers {
        *issuer.keys_requested_at.lock().await = None;
    }
}

/// Returns a valid token's claims after `changes`; null removes a claim.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": "https://host.example", "aud": "raids", "sub": "u-7", "name": "Ada",
        "iat": 1_767_225_600, "exp": 1_767_226_500});
    for (claim, value) in changes.as_object().expect("a map") {
        claims[claim] = value.clone();
    }
    claims
        .as_object_mut()
        .expect("a map")
        .retain(|_, value| !value.is_null());
    claims
}

fn sign(pair: &TestKey, kid: Option<&str>, changes: Value) -> String {
    let header = Jose {
        kid: kid.map(str::to_owned),
        ..Jose::new(pair.algorithm)
    };
    jsonwebtoken::encode(&header, &claims(changes), &pair.signing).expect("signed")
}

/// Returns a token with an arbitrary header, unsigned or signed with HMAC.
fn forged(header: Value, secret: Option<&[u8]>) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let content = format!("{}.{}", part(&header), part(&claims(json!({}))));
    let mark = secret.map(|secret| {
        jsonwebtoken::crypto::sign(
            content.as_bytes(),
            &EncodingKey::from_secret(secret),
            Algorithm::HS256,
        )
        .expect("signed")
    });
    format!("{content}.{}", mark.unwrap_or_default())
}

#[tokio::test]
async fn a_subject_is_the_same_player_with_every_kind_of_key() {
    let host = IssuerFixture::new(&all_keys());
    let mut players = Vec::new();
    for (pair, kid) in [(&*RSA, "rsa"), (&*EC, "ec"), (&*ED, "ed")] {
        let identity = host
            .authenticate(&sign(pair, Some(kid), json!({})))
            .await
            .expect(kid);
        assert_eq!((identity.scope, identity.family), (Scope::Player, None));
        assert_eq!(
            identity.expires_at,
            UnixMillis(1_767_226_530_000),
            "leeway included"
        );
        let player = identity.player.expect("a player");
        assert_eq!(
            (player.name.as_str(), identity.subject),
            ("Ada", player.id.to_string())
        );
        players.push(player);
    }
    assert!(players.iter().all(|player| *player == players[0]));
    let calls = |call| host.store.faults().call_count(call);
    assert_eq!(
        calls(Call::FindOrCreateByIdentity),
        1,
        "a subject that is known costs no look at the store"
    );
    let other = host
        .authenticate(&sign(&ED, Some("ed"), json!({"sub": "u-8", "name": null})))
        .await
        .expect("valid");
    assert_eq!(
        other.player.map(|player| player.name).as_deref(),
        Some("Player")
    );
    let number = host
        .authenticate(&sign(
            &ED,
            Some("ed"),
            json!({"sub": 12, "aud": ["x", "raids"]}),
        ))
        .await;
    assert!(
        number.is_ok(),
        "numbers are subjects too, and there may be more audiences"
    );
}

#[tokio::test]
async fn only_the_algorithm_of_the_key_is_accepted() {
    let host = IssuerFixture::new(&all_keys());
    for alg in ["none", "None", "NONE", "", "HS256", "hs256", "RS256 "] {
        host.assert_refused(
            alg,
            &forged(json!({"alg": alg, "typ": "JWT", "kid": "rsa"}), None),
        )
        .await;
        host.assert_refused(alg, &forged(json!({"alg": alg}), None))
            .await;
    }
    let pem = RSA.pem.as_bytes();
    let modulus = RSA.public["n"].as_str().expect("text").as_bytes();
    for (name, secret) in [
        ("its PEM", pem),
        ("its PEM without the end of line", pem.trim_ascii_end()),
        ("its modulus", modulus),
    ] {
        for kid in [json!("rsa"), Value::Null] {
            let token = forged(json!({"alg": "HS256", "kid": kid}), Some(secret));
            host.assert_refused(
                &format!("HS256 with the public key as a secret: {name}"),
                &token,
            )
            .await;
            let token = forged(json!({"alg": "RS256", "kid": kid}), Some(secret));
            host.assert_refused(&format!("the same under another name: {name}"), &token)
                .await;
        }
    }
    for (pair, kid) in [
        (&*RSA, "ec"),
        (&*RSA, "ed"),
        (&*EC, "rsa"),
        (&*EC, "ed"),
        (&*ED, "rsa"),
        (&*ED, "ec"),
    ] {
        host.assert_refused(
            "the name of another kind of key",
            &sign(pair, Some(kid), json!({})),
        )
        .await;
    }
    for alg in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let header = Jose {
            kid: Some("rsa".into()),
            ..Jose::new(alg)
        };
        let token =
            jsonwebtoken::encode(&header, &claims(json!({})), &RSA.signing).expect("signed");
        host.assert_refused("another algorithm of the same key", &token)
            .await;
    }
}

#[tokio::test]
async fn a_token_signed_by_a_key_in_its_own_header_is_refused() {
    let host = IssuerFixture::new(std::slice::from_ref(&EC.public));
    let attacker = &ED.public;
    for header in [
        json!({"alg": "EdDSA", "jwk": attacker}),
        json!({"alg": "EdDSA", "kid": "ec", "jwk": attacker}),
        json!({"alg": "EdDSA", "kid": "ed", "jku": "https://attacker.example/jwks"}),
        json!({"alg": "EdDSA", "x5u": "https://attacker.example/x5u", "x5c": ["MIIB"]}),
        json!({"alg": "ES256", "kid": "../../../dev/null"}),
        json!({"alg": "ES256", "kid": "ec' OR 1=1 --"}),
    ] {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let content = format!("{}.{}", part(&header), part(&claims(json!({}))));
        let mark = jsonwebtoken::crypto::sign(content.as_bytes(), &ED.signing, Algorithm::EdDSA);
        host.assert_refused(
            &header.to_string(),
            &format!("{content}.{}", mark.expect("signed")),
        )
        .await;
    }
}

#[tokio::test]
async fn tokens_of_other_issuers_audiences_or_times_are_refused() {
    let host = IssuerFixture::new(&all_keys());
    let now = 1_767_225_600;
    for changes in [
        json!({"iss": "https://elsewhere.example"}),
        json!({"iss": "https://host.example/"}),
        json!({"iss": ["https://host.example"]}),
        json!({"iss": "raidhall"}),
        json!({"iss": null}),
        json!({"aud": "raid"}),
        json!({"aud": []}),
        json!({"aud": {"raids": true}}),
        json!({"aud": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "x".repeat(201)}),
        json!({"sub": "a\u{0}b"}),
        json!({"sub": -7}),
        json!({"sub": 1.5}),
        json!({"sub": "telegram:279058397"}),
        json!({"exp": null}),
        json!({"exp": "1767226500"}),
        json!({"exp": 1e300}),
        json!({"exp": now + 3601}),
        json!({"iat": null}),
        json!({"iat": now + 31}),
        json!({"nbf": now + 31}),
        json!({"nbf": "soon"}),
    ] {
        host.assert_refused(
            &changes.to_string(),
            &sign(&ED, Some("ed"), changes.clone()),
        )
        .await;
    }
    let expired = sign(&ED, Some("ed"), json!({"iat": now - 900, "exp": now - 30}));
    assert_eq!(host.authenticate(&expired).await, Err(TOKEN_EXPIRED));
    for good in [
        json!({"iat": now + 30}),
        json!({"nbf": now + 30}),
        json!({"iat": now - 900, "exp": now - 29}),
    ] {
        assert!(
            host.authenticate(&sign(&ED, Some("ed"), good.clone()))
                .await
                .is_ok(),
            "{good}"
        );
    }
}

#[tokio::test]
async fn damaged_and_huge_tokens_are_refused() {
    let host = IssuerFixture::new(&all_keys());
    let good = sign(&ED, Some("ed"), json!({}));
    let (content, mark) = good.rsplit_once('.').expect("three parts");
    let other = sign(&ED, Some("ed"), json!({"sub": "u-8"}));
    let (other_content, _) = other.rsplit_once('.').expect("three parts");
    for bad in [
        format!("{content}."),
        content.to_owned(),
        format!("{other_content}.{mark}"),
        format!("{good}.x"),
        format!("{content}.{}", "A".repeat(mark.len())),
        good.replace('.', " "),
    ] {
        host.assert_refused(&bad, &bad).await;
    }
    host.assert_refused(
        "huge",
        &sign(&ED, Some("ed"), json!({"padding": "x".repeat(10_000)})),
    )
    .await;
    let header = json!({"alg": "EdDSA", "kid": "ed", "crit": ["exp"]});
    host.assert_refused("crit", &forged(header, None)).await;
    host.assert_refused("no name among several keys", &sign(&ED, None, json!({})))
        .await;
}

#[tokio::test]
async fn keys_with_one_kid_are_ambiguous_and_weak_keys_are_skipped() {
    let named = |key: &Value, changes: Value| {
        let mut key = key.clone();
        for (name, value) in changes.as_object().expect("a map") {
            key[name] = value.clone();
        }
        key
    };
    let twins = [
        named(&ED.public, json!({"kid": "a"})),
        named(&EC.public, json!({"kid": "a"})),
        RSA.public.clone(),
    ];
    let host = IssuerFixture::new(&twins);
    host.assert_refused("ambiguous", &sign(&ED, Some("a"), json!({})))
        .await;
    host.assert_refused("ambiguous", &sign(&EC, Some("a"), json!({})))
        .await;
    assert!(
        host.authenticate(&sign(&RSA, Some("rsa"), json!({})))
            .await
            .is_ok()
    );
    for poor in [
        named(&ED.public, json!({"use": "enc"})),
        named(&ED.public, json!({"key_ops": ["sign"]})),
        named(&ED.public, json!({"d": "c2VjcmV0"})),
        named(&ED.public, json!({"alg": "HS256"})),
        named(&ED.public, json!({"crv": "X25519"})),
        named(&ED.public, json!({"x": "c2hvcnQ"})),
        named(&RSA.public, json!({"alg": "PS256"})),
        named(
            &RSA.public,
            json!({"n": BASE64URL_NOPAD.encode(&[0xff; 128])}),
        ),
        named(&EC.public, json!({"crv": "P-384"})),
        json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"}),
        json!("no key"),
    ] {
        let read = KeySet::parse(json!({"keys": [poor]}).to_string().as_bytes());
        assert!(matches!(read, Err(keys::KeySetError::Empty)), "{poor}");
    }
    let only = IssuerFixture::new(&[named(&ED.public, json!({"kid": null}))]);
    assert!(
        only.authenticate(&sign(&ED, None, json!({}))).await.is_ok(),
        "one key needs no name"
    );
    assert!(KeySet::parse(b"[]").is_err() && KeySet::parse(b"{\"keys\": 7}").is_err());
    let many = json!({"keys": vec![ED.public.clone(); 65]}).to_string();
    assert!(matches!(
        KeySet::parse(many.as_bytes()),
        Err(keys::KeySetError::TooMany)
    ));
}

#[tokio::test]
async fn other_scopes_are_accepted_only_from_issuers_with_a_scope_claim() {
    let admin = json!({"scope": "openid raidhall:admin", "roles": ["raidhall:service"]});
    let plain = IssuerFixture::new(&all_keys());
    let identity = plain
        .authenticate(&sign(&ED, Some("ed"), admin.clone()))
        .await
        .expect("valid");
    assert_eq!(identity.scope, Scope::Player);
    let trusted = IssuerFixture::with(&all_keys(), |options| {
        options.scope_claim = Some("scope".into())
    });
    let identity = trusted
        .authenticate(&sign(&ED, Some("ed"), admin.clone()))
        .await
        .expect("valid");
    assert_eq!((identity.scope, identity.player), (Scope::Admin, None));
    assert_eq!(identity.subject, "admin:https://host.example:u-7");
    let roles = IssuerFixture::with(&all_keys(), |options| {
        options.scope_claim = Some("roles".into())
    });
    assert_eq!(
        roles
            .authenticate(&sign(&ED, Some("ed"), admin))
            .await
            .expect("valid")
            .scope,
        Scope::Service
    );
    for scope in [
        json!("raidhall:administrator"),
        json!("admin"),
        json!({"raidhall:admin": true}),
        json!(7),
    ] {
        let token = sign(&ED, Some("ed"), json!({"scope": scope}));
        assert_eq!(
            trusted.authenticate(&token).await.expect("valid").scope,
            Scope::Player
        );
    }
}

#[tokio::test]
async fn player_names_are_sanitized_and_claims_are_configurable() {
    let host = IssuerFixture::with(&all_keys(), |options| {
        options.subject_claim = "uid".into();
        options.name_claim = "nick".into();
        options.external_id_prefix = "host:".into();
    });
    let token = sign(
        &ED,
        Some("ed"),
        json!({"uid": "5", "nick": format!(" A\u{0}d\n\u{202e}a{} ", "!".repeat(60))}),
    );
    let player = host
        .authenticate(&token)
        .await
        .expect("valid")
        .player
        .expect("a player");
    assert_eq!(player.name, format!("Ada{}", "!".repeat(37)));
    use crate::store::Identities;
    let known = host.store.player_by_identity("host:5").await.expect("read");
    assert_eq!(known.map(|known| known.id), Some(player.id));
    host.assert_not_valid(
        "no such claim",
        &sign(&ED, Some("ed"), json!({"nick": "x"})),
    )
    .await;
}

impl IssuerFixture {
    async fn assert_not_valid(&self, what: &str, token: &str) {
        assert_eq!(
            self.authenticate(token).await,
            Err(TOKEN_NOT_VALID),
            "{what}"
        );
    }
}

/// An HTTP server on loopback that answers every request with the current response.
struct JwksServer {
    response: Arc<Lock<String>>,
    request_count: Arc<Lock<usize>>,
    url: String,
}

impl JwksServer {
    async fn start() -> JwksServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!(
            "http://{}/jwks.json?v=1",
            listener.local_addr().expect("an address")
        );
        let response = Arc::new(Lock::new(String::new()));
        let request_count = Arc::new(Lock::new(0));
        let current_response = Arc::clone(&response);
        let count = Arc::clone(&request_count);
        tokio_util::task::TaskTracker::new().spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                *count.lock() += 1;
                let mut request = [0; 2048];
                let read = stream.read(&mut request).await.expect("a request");
                assert!(request[..read].starts_with(b"GET /jwks.json?v=1 HTTP/1.1\r\n"));
                let response = current_response.lock().clone();
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        JwksServer {
            response,
            request_count,
            url,
        }
    }

    fn publish(&self, keys: &[Value]) {
        self.set_response("200 OK", &json!({ "keys": keys }).to_string());
    }

    fn set_response(&self, status: &str, body: &str) {
        let length = body.len();
        *self.response.lock() =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    }

    fn request_count(&self) -> usize {
        *self.request_count.lock()
    }

    fn source(&self) -> JwksSource {
        self.url.parse().expect("loopback")
    }
}

#[tokio::test]
async fn unknown_key_ids_trigger_a_key_fetch_at_a_bounded_rate() {
    let publisher = JwksServer::start().await;
    publisher.publish(std::slice::from_ref(&ED.public));
    let auth = auth(options(publisher.source()));
    let store = Faulty::<MemoryStore>::default();
    let ask = async |token: String| auth.authenticate(&store, &token, NOW).await;
    assert!(ask(sign(&ED, Some("ed"), json!({}))).await.is_ok());
    assert_eq!(publisher.request_count(), 1);
    for number in 0..50 {
        let token = sign(&EC, Some(&format!("unknown-{number}")), json!({}));
        assert_eq!(ask(token).await, Err(Error::Unavailable));
    }
    assert_eq!(publisher.request_count(), 1, "not again so soon");
    publisher.publish(&all_keys());
    assert_eq!(
        ask(sign(&EC, Some("ec"), json!({}))).await,
        Err(Error::Unavailable),
        "a genuine token is good later"
    );
    forget_last_fetch(&auth).await;
    assert!(
        ask(sign(&EC, Some("ec"), json!({}))).await.is_ok(),
        "the new key was fetched"
    );
    assert_eq!(publisher.request_count(), 2);
    forget_last_fetch(&auth).await;
    assert_eq!(
        ask(sign(&EC, Some("unknown"), json!({}))).await,
        Err(TOKEN_NOT_VALID),
        "the issuer does not publish this key now"
    );
}

#[tokio::test]
async fn the_last_good_keys_stay_in_use_while_fetching_new_ones_fails() {
    let publisher = JwksServer::start().await;
    let auth = auth(options(publisher.source()));
    let store = Faulty::<MemoryStore>::default();
    let token = sign(&ED, Some("ed"), json!({}));
    publisher.set_response("500 Internal Server Error", "");
    assert_eq!(
        auth.authenticate(&store, &token, NOW).await,
        Err(Error::Unavailable),
        "no keys are known"
    );
    let issuer = &auth.0.external_tokens.issuers[0];
    publisher.publish(std::slice::from_ref(&ED.public));
    issuer.reload_keys().await;
    assert!(auth.authenticate(&store, &token, NOW).await.is_ok());
    let huge = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(300_000));
    for (status, body) in [
        ("503 Service Unavailable", ""),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
        ("200 OK", "<html>not keys</html>"),
        ("200 OK", "{\"keys\": []}"),
        ("200 OK", huge.as_str()),
    ] {
        publisher.set_response(status, body);
        let before = publisher.request_count();
        issuer.reload_keys().await;
        assert_eq!(
            publisher.request_count(),
            before + 1,
            "{status}: one request, no redirect"
        );
        assert!(
            auth.authenticate(&store, &token, NOW).await.is_ok(),
            "{status}"
        );
    }
}

#[test]
fn key_sources_must_be_https_loopback_or_a_file() {
    for good in [
        "https://host.example/jwks",
        "http://127.0.0.1:9/x",
        "http://[::1]/x",
        "http://localhost/x",
        "/etc/jwks.json",
    ] {
        assert!(good.parse::<JwksSource>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "http://host.example/jwks",
        "http://127.0.0.1.evil.example/",
        "http://10.0.0.1/x",
        "ftp://x/y",
        "https://user:pw@host.example/x",
        "https://",
    ] {
        assert!(bad.parse::<JwksSource>().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_player_whose_ban_changed_is_read_from_the_store_again() {
    let host = IssuerFixture::new(&all_keys());
    let token = sign(&ED, Some("ed"), json!({}));
    let calls = || host.store.faults().call_count(Call::FindOrCreateByIdentity);
    let identity = host.authenticate(&token).await.expect("valid");
    let player = identity.player.expect("a player").id;
    let other = PlayerId::try_from(player.get() + 1).expect("an id");
    for (player, expected) in [(other, 1), (player, 2)] {
        let notice = Notice::BanChanged {
            player,
            banned: false,
        };
        host.auth.apply_notices(&[notice], NOW);
        host.authenticate(&token).await.expect("valid");
        assert_eq!(calls(), expected);
    }
}

#[tokio::test]
async fn a_token_that_cannot_have_a_new_key_is_refused_for_good() {
    let host = IssuerFixture::new(std::slice::from_ref(&ED.public));
    let ask = async |times: Value| {
        let token = sign(&EC, Some("unknown"), times);
        host.authenticate(&token).await
    };
    // The first token with an unknown key makes the issuer's keys be read.
    assert_eq!(ask(json!({})).await, Err(TOKEN_NOT_VALID));
    assert_eq!(ask(json!({})).await, Err(Error::Unavailable), "issued now");
    for (what, times) in [
        (
            "issued before the keys were read",
            json!({"iat": NOW.0 / 1_000 - 60}),
        ),
        ("expired", json!({"exp": NOW.0 / 1_000 - 60})),
    ] {
        assert_eq!(ask(times).await, Err(TOKEN_NOT_VALID), "{what}");
    }
}
