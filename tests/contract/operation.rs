//! The description of one REST operation, and its part of the OpenAPI document.

use std::collections::BTreeMap;

use raidhall_protocol::ErrorType;
use raidhall_protocol::rest::Failed;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::examples;
use super::schemas::{Schemas, object};

/// The callers that an operation accepts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AllowedCaller {
    /// Any caller, with or without a token.
    Public,
    /// A signed-in player. Reading a raid is also allowed to the host app's backend and to
    /// operators.
    Player,
    /// The host app's backend, with a token of scope `service`.
    HostAppBackend,
    /// An operator, with a token of scope `admin`.
    Operator,
}

pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &'static str,
    allowed_caller: AllowedCaller,
    /// Whether responses carry the rate limit headers.
    is_rate_limited: bool,
    /// Additional headers of the successful response.
    success_headers: Vec<&'static str>,
    parameters: Vec<Value>,
    body: Option<(Value, Value)>,
    success: (u16, Value),
    /// Another response with a body of its own: its status, description and schema.
    alternative: Option<(u16, &'static str, Value)>,
    errors: Vec<ErrorType>,
}

const RATE_LIMIT_HEADERS: [&str; 3] = [
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
];
/// The errors that any request may get.
const COMMON_ERRORS: [ErrorType; 2] = [ErrorType::Unavailable, ErrorType::Internal];

impl Operation {
    /// Creates a public operation for `METHOD /path`, whose successful response is empty until one
    /// is set.
    pub fn new(
        route: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Operation {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let parameters = match path {
            path if path.contains("{id}") => vec![id_in_path(path)],
            path if path.contains("{name}") => vec![name_in_path()],
            path if path.contains("{code}") => vec![code_in_path()],
            path if path.contains("{player}") => vec![board_in_path(), player_in_path()],
            path if path.contains("{board}") => vec![board_in_path()],
            _ => Vec::new(),
        };
        let success = (200, json!({}));
        let errors = COMMON_ERRORS.to_vec();
        Operation {
            method,
            path,
            id,
            tag,
            summary,
            description: "",
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

    /// Sets the description, which every operation needs: what it does, its particular errors, and
    /// the callers that it accepts.
    pub fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    pub fn allow_caller(mut self, caller: AllowedCaller) -> Self {
        self.allowed_caller = caller;
        match caller {
            AllowedCaller::Public => self,
            AllowedCaller::Player => self
                .fails_with(&[ErrorType::Unauthenticated, ErrorType::Forbidden])
                .rate_limited(),
            // A player's request is charged to the rate limit before it is refused.
            AllowedCaller::HostAppBackend | AllowedCaller::Operator => self.fails_with(&[
                ErrorType::Unauthenticated,
                ErrorType::Forbidden,
                ErrorType::RateLimited,
            ]),
        }
    }

    /// Declares that the operation is charged to a rate limit and that its responses carry the
    /// headers for it.
    pub fn rate_limited(mut self) -> Self {
        self.is_rate_limited = true;
        self.fails_with(&[ErrorType::RateLimited])
    }

    /// Declares that the operation is charged to no rate limit, for any caller.
    pub fn without_rate_limit(mut self) -> Self {
        self.is_rate_limited = false;
        self.errors
            .retain(|refusal| *refusal != ErrorType::RateLimited);
        self
    }

    /// Adds a header of the successful response.
    pub fn with_header(mut self, name: &'static str) -> Self {
        self.success_headers.push(name);
        self
    }

    pub fn fails_with(mut self, types: &[ErrorType]) -> Self {
        self.errors.extend(types);
        self
    }

    /// Adds an optional query parameter.
    pub fn query(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(
            json!({"name": name, "in": "query", "description": description, "schema": schema}),
        );
        self.fails_with(&[ErrorType::Invalid])
    }

    /// Adds a required query parameter with several values between commas.
    pub fn query_list(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(
            json!({"name": name, "in": "query", "required": true, "explode": false,
            "description": description, "schema": schema}),
        );
        self.fails_with(&[ErrorType::Invalid])
    }

    /// Adds an optional header of the request.
    pub fn header(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(
            json!({"name": name, "in": "header", "description": description, "schema": schema}),
        );
        self.fails_with(&[ErrorType::Invalid])
    }

    /// Adds the `limit` parameter of a paged list.
    pub fn paged(self) -> Self {
        self.query(
            "limit",
            "Maximum number of rows to return.",
            json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        )
    }

    /// Adds the `Idempotency-Key` header, which makes it safe to repeat the request.
    pub fn idempotent(self) -> Self {
        self.header(
            "Idempotency-Key",
            "Key that the client chooses for this request and repeats on every attempt; the \
             request takes effect only once.",
            json!({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}),
        )
    }

    pub fn body(mut self, schema: Value, example: Value) -> Self {
        self.body = Some((schema, example));
        self.fails_with(&[ErrorType::Invalid, ErrorType::TooLarge])
    }

    /// Sets the successful response to JSON of this schema, without an example.
    pub fn returns_json(mut self, status: u16, schema: Value) -> Self {
        self.success = (status, json!({"application/json": {"schema": schema}}));
        self
    }

    /// Sets a response that is neither a success nor an error.
    pub fn returns_alternative(
        mut self,
        status: u16,
        description: &'static str,
        schema: Value,
    ) -> Self {
        self.alternative = Some((status, description, schema));
        self
    }

    /// Sets the successful response to `{"data": T}`, with an example.
    pub fn returns<T: JsonSchema>(self, status: u16, schemas: &mut Schemas) -> Self {
        let schema = object(&[("data", schemas.response::<T>())]);
        self.with_success(
            status,
            schema,
            json!({"data": examples::example_of(&T::schema_name())}),
        )
    }

    /// Sets the successful response to `{"data": [T]}`, with an example.
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

    /// Sets the successful response to `T` itself, with an example.
    pub fn returns_body<T: JsonSchema>(self, schemas: &mut Schemas) -> Self {
        let schema = schemas.response::<T>();
        self.with_success(200, schema, examples::example_of(&T::schema_name()))
    }

    /// Sets the successful response to a page of `T` with the cursor of the next page, and an
    /// example.
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

    /// Sets the successful response to an event stream with events of this schema.
    pub fn returns_stream(mut self, event: Value, example: Value) -> Self {
        self.success = (
            200,
            json!({"text/event-stream": {"schema": event, "example": example}}),
        );
        self
    }

    /// Returns the OpenAPI object of the operation, and adds the error responses that operations
    /// share to `refusals`.
    pub fn document(&self, schemas: &mut Schemas, refusals: &mut Map<String, Value>) -> Value {
        assert!(
            !self.description.is_empty(),
            "{} has no description",
            self.id
        );
        let failed = schemas.response::<Failed>();
        let mut document = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.description,
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
        "description": format!("Id of the {what}."),
        "schema": {"type": "integer", "minimum": 1, "maximum": 9_007_199_254_740_991_u64},
    })
}

fn name_in_path() -> Value {
    json!({
        "name": "name",
        "in": "path",
        "required": true,
        "description": "Name of the endpoint in the server's configuration.",
        "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
    })
}

fn board_in_path() -> Value {
    json!({
        "name": "board",
        "in": "path",
        "required": true,
        "description": "Id of the leaderboard.",
        "schema": {"type": "string", "pattern": "^[a-z0-9_]{1,64}$"},
    })
}

fn player_in_path() -> Value {
    json!({
        "name": "player",
        "in": "path",
        "required": true,
        "description": "Id of the player.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 9_007_199_254_740_991_u64},
    })
}

fn code_in_path() -> Value {
    json!({
        "name": "code",
        "in": "path",
        "required": true,
        "description": "Invite code.",
        "schema": {"type": "string"},
    })
}

fn error_response(status: u16, types: &[ErrorType], failed: &Value) -> Value {
    let description = match status {
        400 => "`invalid`: the request is malformed.".to_owned(),
        408 => "`invalid`: the body did not arrive in time.".to_owned(),
        _ => types
            .iter()
            .map(|r#type| format!("`{}`: {}.", r#type.as_str(), meaning(*r#type)))
            .collect::<Vec<_>>()
            .join(" "),
    };
    // An error response can carry the rate limit headers too, if the request was charged before it
    // failed.
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

/// Returns the meaning of an error, for the description of a response.
const fn meaning(r#type: ErrorType) -> &'static str {
    match r#type {
        ErrorType::Invalid => "some values are not valid; `fields` names each of them",
        ErrorType::Unauthenticated => {
            "the token or other credential is missing, expired or not valid"
        }
        ErrorType::Forbidden => "the caller may not do this",
        ErrorType::NotLeader => "only the leader may do this",
        ErrorType::NotYours => "only the player who claimed the task may do this",
        ErrorType::NotFound => "the resource does not exist, or the caller may not see it",
        ErrorType::NotMember => "the player is not a member of the raid",
        ErrorType::MethodNotAllowed => "the path does not support this method",
        ErrorType::WrongStatus => {
            "not possible in the current status of the raid, the task or the player"
        }
        ErrorType::TaskTaken => "the task is already claimed",
        ErrorType::RaidFull => "the raid has reached its maximum number of members",
        ErrorType::RaidClosed => "the raid accepts no more members",
        ErrorType::TooManyTasks => "the raid has reached its maximum number of tasks",
        ErrorType::NotEnoughEnergy => "the player does not have enough energy",
        ErrorType::NotEnoughCoins => "the player does not have enough coins",
        ErrorType::QuotaExceeded => "a limit of the player or the raid is reached",
        ErrorType::Conflict => "what the request names has changed since the caller saw it",
        ErrorType::TooLarge => "the body exceeds the size limit",
        ErrorType::RateLimited => "a rate limit is exceeded",
        ErrorType::Overloaded => {
            "the raid is busy, there are too many connections, or the server has no space for new raids and guests"
        }
        ErrorType::Unavailable => {
            "the server is temporarily unable to respond; the request may have taken effect"
        }
        ErrorType::Internal => "an unexpected error in the server",
    }
}
