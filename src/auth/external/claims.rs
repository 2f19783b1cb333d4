//! Claims of another issuer's token: validation, and the subject that they give.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use raidhall_protocol::limits::{EXTERNAL_ID_CHARS_MAX, NAME_CHARS_MAX};
use raidhall_protocol::{UnixMillis, text};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ExternalIdentity, IssuerOptions};

/// Maximum difference between an issuer's clock and the database's.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);

const PLAYER_NAME_DEFAULT: &str = "Player";

pub(super) type ClaimsMap = Map<String, Value>;

/// Subject of a token, by its scope.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenSubject {
    Player(ExternalIdentity),
    Service(String),
    Admin(String),
}

/// Reason why a genuine token is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClaimsError {
    Expired,
    NotAccepted,
}

/// Returns the issuer that a token names. It proves nothing; it only selects the keys to verify the
/// token with.
pub(super) fn unverified_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct UnverifiedClaims {
        iss: String,
    }
    let payload = BASE64URL_NOPAD
        .decode(token.split('.').nth(1)?.as_bytes())
        .ok()?;
    serde_json::from_slice::<UnverifiedClaims>(&payload)
        .ok()
        .map(|claims| claims.iss)
}

/// Returns whether a token with an unknown key may be genuine: it is not expired, and it was issued
/// after the keys were loaded, as far as it says so.
pub(super) fn may_have_new_key(token: &str, keys_loaded_at: UnixMillis, now: UnixMillis) -> bool {
    #[derive(Deserialize)]
    struct UnverifiedTimes {
        iat: Option<f64>,
        exp: Option<f64>,
    }
    let payload = token.split('.').nth(1).unwrap_or_default();
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes());
    let times = payload
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok());
    let Some(UnverifiedTimes { iat, exp }) = times else {
        return false;
    };
    let seconds = |time: UnixMillis| time.0 as f64 / 1_000.0;
    let leeway = LEEWAY.as_secs_f64();
    let is_expired = exp.is_some_and(|exp| exp + leeway <= seconds(now));
    let is_older = iat.is_some_and(|iat| iat + leeway < seconds(keys_loaded_at));
    !is_expired && !is_older
}

/// Returns the subject of genuine claims and the time at which they expire.
pub(super) fn validate_claims(
    claims: &ClaimsMap,
    options: &IssuerOptions,
    reserved_prefixes: &[String],
    now: UnixMillis,
) -> Result<(TokenSubject, UnixMillis), ClaimsError> {
    if claims.get("iss").and_then(Value::as_str) != Some(&options.issuer)
        || !has_audience(claims, &options.audience)
    {
        return Err(ClaimsError::NotAccepted);
    }
    let expires_at = validate_lifetime(claims, options.lifetime_max, now)?;
    let claimed =
        token_subject(claims, options, reserved_prefixes).ok_or(ClaimsError::NotAccepted)?;
    Ok((claimed, expires_at))
}

fn has_audience(claims: &ClaimsMap, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(only)) => only == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one == audience),
        _ => false,
    }
}

/// Returns the time at which the token expires, leeway included.
fn validate_lifetime(
    claims: &ClaimsMap,
    lifetime_max: Duration,
    now: UnixMillis,
) -> Result<UnixMillis, ClaimsError> {
    let date = |name: &str| {
        claims
            .get(name)
            .map(|value| parse_numeric_date(value).ok_or(ClaimsError::NotAccepted))
            .transpose()
    };
    let issued = date("iat")?.ok_or(ClaimsError::NotAccepted)?;
    let expires = date("exp")?.ok_or(ClaimsError::NotAccepted)?;
    let begins = date("nbf")?.map_or(issued, |not_before| not_before.max(issued));
    let now = now.0 as f64 / 1_000.0;
    let leeway = LEEWAY.as_secs_f64();
    if now >= expires + leeway {
        return Err(ClaimsError::Expired);
    }
    if begins > now + leeway || expires - issued > lifetime_max.as_secs_f64() {
        return Err(ClaimsError::NotAccepted);
    }
    // The value is below 10^15, so the conversion is exact.
    Ok(UnixMillis(((expires + leeway) * 1_000.0) as i64))
}

/// Parses a NumericDate (RFC 7519, section 2) from 0 up to 10^12 seconds.
fn parse_numeric_date(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .filter(|seconds| (0.0..1e12).contains(seconds))
}

fn token_subject(
    claims: &ClaimsMap,
    options: &IssuerOptions,
    reserved_prefixes: &[String],
) -> Option<TokenSubject> {
    let subject = parse_subject(claims.get(&options.subject_claim)?)?;
    let scoped = format!("{}:{subject}", options.issuer);
    if has_scope(claims, options, "raidhall:admin") {
        return Some(TokenSubject::Admin(scoped));
    }
    if has_scope(claims, options, "raidhall:service") {
        return Some(TokenSubject::Service(scoped));
    }
    let external_id = format!("{}{subject}", options.external_id_prefix);
    let is_others = |prefix: &String| external_id.starts_with(prefix);
    if reserved_prefixes.iter().any(is_others) {
        return None;
    }
    Some(TokenSubject::Player(ExternalIdentity {
        external_id,
        name: sanitize_player_name(claims.get(&options.name_claim)),
    }))
}

/// Parses a subject: text, or a whole number, since some host apps number their users.
fn parse_subject(value: &Value) -> Option<String> {
    let subject = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_u64()?.to_string(),
        _ => return None,
    };
    let fits = (1..=EXTERNAL_ID_CHARS_MAX).contains(&subject.chars().count())
        && !subject.chars().any(char::is_control);
    fits.then_some(subject)
}

/// Returns whether the scope claim contains `scope`, as a list or as space-separated text (RFC
/// 8693, section 4.2).
fn has_scope(claims: &ClaimsMap, options: &IssuerOptions, scope: &str) -> bool {
    let Some(value) = options
        .scope_claim
        .as_ref()
        .and_then(|claim| claims.get(claim))
    else {
        return false;
    };
    match value {
        Value::String(text) => text.split(' ').any(|word| word == scope),
        Value::Array(list) => list.iter().any(|word| word == scope),
        _ => false,
    }
}

/// Returns a valid player name as close as possible to the issuer's value.
pub(in crate::auth) fn sanitize_player_name(value: Option<&Value>) -> String {
    let value = value.and_then(Value::as_str).unwrap_or_default();
    let kept = |c: &char| !c.is_control() && !text::is_bidi_control(*c);
    let name: String = value.chars().filter(kept).collect();
    let short: String = name.trim().chars().take(NAME_CHARS_MAX).collect();
    let short = short.trim_end();
    if text::check_name(short).is_ok() {
        short.to_owned()
    } else {
        PLAYER_NAME_DEFAULT.to_owned()
    }
}
