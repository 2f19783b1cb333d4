//! How one operation of REST is described.

use std::collections::BTreeMap;

use raidhall_protocol::ErrorType;
use raidhall_protocol::rest::Failed;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::examples;
use super::schemas::{Schemas, object};

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AllowedCaller {
    /// Anybody.
    Public,
    /// A signed-in player; for looking at a raid, its members, the host app's backend and operators.
    Player,
    /// The host app's backend.
    HostAppBackend,
    /// An operator.
    Operator,
}

pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    allowed_caller: AllowedCaller,
    /// Whether an answer says what is left of an allowance.
    is_rate_limited: bool,
    /// Headers of success that others do not have.
    success_headers: Vec<&'static str>,
    parameters: Vec<Value>,
    body: Option<(Value, Value)>,
    success: (u16, Value),
    /// Another status with a body of its own: number, meaning, schema.
    alternative: Option<(u16, &'static str, Value)>,
    errors: Vec<ErrorType>,
}

const RATE_LIMIT_HEADERS: [&str; 3] = [
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
];
/// What any request may be answered with.
const COMMON_ERRORS: [ErrorType; 2] = [ErrorType::Unavailable, ErrorType::Internal];

impl Operation {
    /// `asks` is `METHOD /path`; without an answer until one is given.
    pub fn new(
        asks: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Operation {
        let (method, path) = asks.split_once(' ').expect("a method and a path");
        let parameters = match path {
            path if path.contains("{id}") => vec![id_in_path(path)],
            path if path.contains("{name}") => vec![name_in_path()],
            _ => Vec::new(),
        };
        let (success, errors) = ((200, json!({})), COMMON_ERRORS.to_vec());
        Operation {
            method,
            path,
            id,
            tag,
            summary,
            allowed_caller: AllowedCaller::Public,
            is_rate_limited: false,
            success_headers: Vec::new(),
            parameters,
            body: None,
            success,
            alternative: None,
            errors,
        }
    }

    pub fn allow_caller(mut self, who: AllowedCaller) -> Self {
        self.allowed_caller = who;
        match who {
            AllowedCaller::Public => self,
            AllowedCaller::Player => self
                .fails_with(&[ErrorType::Unauthenticated, ErrorType::Forbidden])
                .rate_limited(),
            // A player who asks is counted before they are refused.
            AllowedCaller::HostAppBackend | AllowedCaller::Operator => self.fails_with(&[
                ErrorType::Unauthenticated,
                ErrorType::Forbidden,
                ErrorType::RateLimited,
            ]),
        }
    }

    /// It takes from an allowance, and its answers say what is left.
    pub fn rate_limited(mut self) -> Self {
        self.is_rate_limited = true;
        self.fails_with(&[ErrorType::RateLimited])
    }

    /// It takes from no allowance of requests, whoever asks.
    pub fn without_rate_limit(mut self) -> Self {
        self.is_rate_limited = false;
        self.errors
            .retain(|refusal| *refusal != ErrorType::RateLimited);
        self
    }

    /// Success has this header too.
    pub fn with_header(mut self, name: &'static str) -> Self {
        self.success_headers.push(name);
        self
    }

    pub fn fails_with(mut self, types: &[ErrorType]) -> Self {
        self.errors.extend(types);
        self
    }

    /// A query parameter.
    pub fn query(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(
            json!({"name": name, "in": "query", "description": description, "schema": schema}),
        );
        self.fails_with(&[ErrorType::Invalid])
    }

    /// A header.
    pub fn header(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(
            json!({"name": name, "in": "header", "description": description, "schema": schema}),
        );
        self.fails_with(&[ErrorType::Invalid])
    }

    /// The page of a list.
    pub fn paged(self) -> Self {
        self.query(
            "limit",
            "Rows at most.",
            json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        )
    }

    /// The key that makes a repeat harmless.
    pub fn idempotent(self) -> Self {
        self.header(
            "Idempotency-Key",
            "Your own name for this request: repeated under it, it does nothing twice.",
            json!({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}),
        )
    }

    pub fn body(mut self, schema: Value, example: Value) -> Self {
        self.body = Some((schema, example));
        self.fails_with(&[ErrorType::Invalid, ErrorType::TooLarge])
    }

    /// Success with JSON of any form.
    pub fn returns_json(mut self, status: u16, schema: Value) -> Self {
        self.success = (status, json!({"application/json": {"schema": schema}}));
        self
    }

    /// What is neither success nor a refusal.
    pub fn returns_alternative(
        mut self,
        status: u16,
        description: &'static str,
        schema: Value,
    ) -> Self {
        self.alternative = Some((status, description, schema));
        self
    }

    /// Success with `{"data": T}`, and an example of it.
    pub fn returns<T: JsonSchema>(self, status: u16, schemas: &mut Schemas) -> Self {
        let schema = object(&[("data", schemas.response::<T>())]);
        self.with_success(
            status,
            schema,
            json!({"data": examples::example_of(&T::schema_name())}),
        )
    }

    /// Success with `{"data": [T]}`.
    pub fn returns_list<T: JsonSchema>(self, schemas: &mut Schemas) -> Self {
        let schema = object(&[(
            "data",
            json!({"type": "array", "items": schemas.response::<T>()}),
        )]);
        self.with_success(
            200,
            schema,
            json!({"data": [examples::example_of(&T::schema_name())]}),
        )
    }

    /// Success with a page of `T`, and where the next one begins.
    pub fn returns_page<T: JsonSchema>(self, schemas: &mut Schemas, next_cursor: Value) -> Self {
        let rows = json!({"type": "array", "items": schemas.response::<T>()});
        let schema = object(&[("data", rows), ("next_cursor", next_cursor)]);
        self.with_success(
            200,
            schema,
            json!({"data": [examples::example_of(&T::schema_name())], "next_cursor": "AAAAAAAAAAc"}),
        )
    }

    fn with_success(mut self, status: u16, schema: Value, example: Value) -> Self {
        self.success = (
            status,
            json!({"application/json": {"schema": schema, "example": example}}),
        );
        self
    }

    /// Success that goes on: events of this form, one after the other.
    pub fn returns_stream(mut self, event: Value, example: Value) -> Self {
        self.success = (
            200,
            json!({"text/event-stream": {"schema": event, "example": example}}),
        );
        self
    }

    /// The operation; the refusals that it shares with others go into `refusals`.
    pub fn document(&self, schemas: &mut Schemas, refusals: &mut Map<String, Value>) -> Value {
        let failed = schemas.response::<Failed>();
        let mut document = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "responses": self.responses(&failed, refusals),
        });
        let fields = document.as_object_mut().expect("a map");
        if !self.parameters.is_empty() {
            fields.insert("parameters".into(), json!(self.parameters));
        }
        if let Some((schema, example)) = &self.body {
            let content = json!({"application/json": {"schema": schema, "example": example}});
            fields.insert(
                "requestBody".into(),
                json!({"required": true, "content": content}),
            );
        }
        let security = if self.allowed_caller == AllowedCaller::Public {
            json!([])
        } else {
            json!([{"bearer": []}])
        };
        fields.insert("security".into(), security);
        document
    }

    fn responses(&self, failed: &Value, refusals: &mut Map<String, Value>) -> Value {
        let mut by_status: BTreeMap<u16, Vec<ErrorType>> = BTreeMap::new();
        for refusal in &self.errors {
            let types = by_status.entry(refusal.status()).or_default();
            if !types.contains(refusal) {
                types.push(*refusal);
            }
        }
        if self
            .parameters
            .iter()
            .any(|parameter| parameter["in"] == "query")
            || self.body.is_some()
        {
            by_status.insert(400, vec![ErrorType::Invalid]);
        }
        if self.body.is_some() {
            by_status.insert(408, vec![ErrorType::Invalid]);
        }
        let mut responses = Map::new();
        let (status, content) = &self.success;
        responses.insert(status.to_string(), self.success(content));
        for (status, types) in by_status {
            let names: Vec<_> = types.iter().map(|r#type| r#type.as_str()).collect();
            let name = format!("{status}-{}", names.join("-"));
            responses.insert(
                status.to_string(),
                json!({"$ref": format!("#/components/responses/{name}")}),
            );
            refusals
                .entry(name)
                .or_insert_with(|| error_response(status, &types, failed));
        }
        if let Some((status, description, schema)) = &self.alternative {
            let headers = Map::from_iter([header("X-Request-ID")]);
            let content = json!({"application/json": {"schema": schema}});
            let response =
                json!({"description": description, "headers": headers, "content": content});
            responses.insert(status.to_string(), response);
        }
        Value::Object(responses)
    }

    fn success(&self, content: &Value) -> Value {
        let mut headers = Map::from_iter([header("X-Request-ID")]);
        if self.is_rate_limited {
            headers.extend(RATE_LIMIT_HEADERS.map(header));
        }
        headers.extend(self.success_headers.iter().map(|name| header(name)));
        json!({"description": "Success.", "headers": headers, "content": content})
    }
}

fn header(name: &str) -> (String, Value) {
    (
        name.to_owned(),
        json!({"$ref": format!("#/components/headers/{name}")}),
    )
}

fn id_in_path(path: &str) -> Value {
    let what = if path.contains("players") {
        "player"
    } else {
        "raid"
    };
    json!({
        "name": "id",
        "in": "path",
        "required": true,
        "description": format!("The {what}."),
        "schema": {"type": "integer", "minimum": 1, "maximum": 9_007_199_254_740_991_u64},
    })
}

fn name_in_path() -> Value {
    json!({
        "name": "name",
        "in": "path",
        "required": true,
        "description": "The endpoint, as it is configured.",
        "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
    })
}

fn error_response(status: u16, types: &[ErrorType], failed: &Value) -> Value {
    let names: Vec<_> = types
        .iter()
        .map(|r#type| format!("`{}`", r#type.as_str()))
        .collect();
    let description = match status {
        400 => "`invalid`: the request cannot be read.".to_owned(),
        408 => "`invalid`: the body did not arrive in time.".to_owned(),
        _ => names.join(", ") + ".",
    };
    // A refusal takes from an allowance too, where the caller has come as far as that.
    let mut headers = Map::from_iter([header("X-Request-ID")]);
    headers.extend(RATE_LIMIT_HEADERS.map(header));
    if types.iter().any(|r#type| r#type.retry()) {
        headers.extend([header("Retry-After")]);
    }
    if status == 401 {
        headers.extend([header("WWW-Authenticate")]);
    }
    let content = json!({"application/json": {"schema": failed, "example": examples::error_example(status, types[0])}});
    json!({"description": description, "headers": headers, "content": content})
}
