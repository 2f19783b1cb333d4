//! Texts that break quoting, encodings, terminals or logs, sent through every text field and read
//! back.

use raidhall::auth::Scope;
use raidhall_loadtest::client::{RestClient, RestClientError};
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::text::is_bidi_control;
use raidhall_protocol::{
    ClientMessage, Codec, Command, ErrorType, EventData, OpKey, Seq, ServerMessage,
};
use serde_json::json;

use crate::process::{TestDatabase, TestServer};
use crate::test_socket::TestSocket;
use crate::with_timeout;

const HOSTILE_TEXTS: [&str; 8] = [
    "Robert'); DROP TABLE raids;--",
    "1 OR 1=1 UNION SELECT 2 FROM raids--",
    "\"; $1 ?1 :name %s {0} \\' `id`",
    "\u{202E}dehcated\u{202C}",
    "\u{2066}a\u{2069}\u{200B}\u{FEFF}b",
    "🔥👩‍👩‍👧‍👦 𝕏 \u{10FFFF}",
    "${jndi:ldap://x} \\u0000 null",
    "</script><!-- level=ERROR forged=1",
];
/// Texts that are refused as names and titles.
const REFUSED_NAMES: [&str; 3] = ["\u{202E}dehcated\u{202C}", "a\u{200F}", "\u{200B}\u{3164}"];
/// Texts with a control character, which every field refuses.
const CONTROL_CHARACTER_TEXTS: [&str; 6] = [
    "a\0b",
    "a\nERROR forged line",
    "a\r\nX-Forged: 1",
    "a\u{1b}[2Jb",
    "a\u{7f}b",
    "a\u{85}b",
];

fn new_raid(text: &str) -> NewRaid {
    NewRaid {
        title: text.replace(is_bidi_control, ""),
        description: Some(text.to_owned()),
        target_xp: 1_000_000,
        target_tasks: 10_000,
        time_limit_secs: None,
        max_members: None,
        late_join: None,
        ranked: None,
    }
}

fn contribute_command(player: raidhall_protocol::PlayerId, note: &str) -> Command {
    let body =
        json!({"type": "contribute", "player": player, "xp": 5, "kind": "bonus", "note": note});
    serde_json::from_value(body).expect("a command")
}

async fn assert_round_trips(database: &TestDatabase, server: &TestServer, text: &str) {
    let rest = RestClient::new(server.target()).expect("a REST client");
    let name = text.replace(is_bidi_control, "");
    let tokens = rest.sign_in_guest(&name).await.expect("a guest");
    let own = rest.with_token(&tokens.access_token);
    assert_eq!(own.profile().await.expect("me").name, name);
    let raid = own
        .create_raid(&new_raid(text), None)
        .await
        .expect("a raid")
        .state
        .id;
    let mut sockets = Vec::new();
    for codec in Codec::ALL {
        let mut socket =
            TestSocket::connect_authenticated(server.target(), codec, &tokens.access_token).await;
        socket.watch(raid, None).await;
        sockets.push(socket);
    }
    let socket = &mut sockets[0];
    socket
        .execute(raid, None, Command::Start)
        .await
        .expect("started");
    let add = Command::AddTask {
        title: name.clone(),
        xp: 10,
        minutes: 5,
    };
    socket.execute(raid, None, add).await.expect("added");
    let service =
        rest.with_token(&database.token(Scope::Service, None, std::time::Duration::from_secs(60)));
    service
        .send_command(raid, None, &contribute_command(tokens.player.id, text))
        .await
        .expect("contributed");
    let signal = json!({"t": "signal", "raid": raid, "kind": "emote", "data": {text: text}});
    let signal: ClientMessage = serde_json::from_value(signal).expect("a signal");
    socket.send(signal).await;
    let seq = socket.say(raid, text).await;

    let signalled = |message: &ServerMessage| match message {
        ServerMessage::Signal { data, .. } => Some(data.clone()),
        _ => None,
    };
    let said = |message: &ServerMessage| match message {
        ServerMessage::Event { event, .. } if event.seq == seq => Some(event.data.clone()),
        _ => None,
    };
    // Signals are not ordered among events: either may come first.
    let mut signal = None;
    let mut event = None;
    while signal.is_none() || event.is_none() {
        let message = sockets[1].next_message().await;
        signal = signal.or_else(|| signalled(&message));
        event = event.or_else(|| said(&message));
    }
    assert_eq!(signal, Some(json!({text: text})));
    assert_eq!(
        event,
        Some(EventData::Said {
            text: text.to_owned()
        })
    );

    let state = own.raid(raid).await.expect("the raid").state;
    let kept = [
        &state.title,
        &state.members[0].name,
        &state.tasks[0].title,
        &state.messages[0].text,
    ];
    assert_eq!(kept, [&name, &name, &name, text]);
    assert_eq!(state.description.as_deref(), Some(text));
    let ledger = own.all_events(raid).await.expect("the ledger");
    assert!(ledger.iter().any(|event| event.data
        == EventData::Said {
            text: text.to_owned()
        }));
    assert_eq!(
        own.all_contributions(raid).await.expect("contributions")[0]
            .note
            .as_deref(),
        Some(text)
    );
}

fn assert_invalid<T: std::fmt::Debug>(answer: Result<T, RestClientError>) {
    let error = answer.expect_err("refused");
    assert!(
        format!("{error:?}")
            .to_lowercase()
            .contains(ErrorType::Invalid.as_str()),
        "{error:?}"
    );
}

async fn assert_name_refused(server: &TestServer, text: &str) {
    let rest = RestClient::new(server.target()).expect("a REST client");
    assert_invalid(rest.sign_in_guest(text).await);
    let tokens = rest.sign_in_guest("Ada").await.expect("a guest");
    let own = rest.with_token(&tokens.access_token);
    let titled = NewRaid {
        title: text.to_owned(),
        ..new_raid("fine")
    };
    assert_invalid(own.create_raid(&titled, None).await);
}

async fn assert_refused(server: &TestServer, text: &str) {
    let rest = RestClient::new(server.target()).expect("a REST client");
    assert_invalid(rest.sign_in_guest(text).await);
    let tokens = rest.sign_in_guest("Ada").await.expect("a guest");
    let own = rest.with_token(&tokens.access_token);
    assert_invalid(own.create_raid(&new_raid(text), None).await);
    assert!(own.join_raid(text).await.is_err());
    let raid = own
        .create_raid(&new_raid("fine"), None)
        .await
        .expect("a raid")
        .state
        .id;
    let mut socket =
        TestSocket::connect_authenticated(server.target(), Codec::Json, &tokens.access_token).await;
    for command in [
        Command::Say {
            text: text.to_owned(),
        },
        Command::AddTask {
            title: text.to_owned(),
            xp: 10,
            minutes: 5,
        },
    ] {
        let refused = socket
            .execute(raid, None, command)
            .await
            .expect_err("refused");
        assert_eq!(refused.r#type, ErrorType::Invalid, "{refused:?}");
    }
    assert!(OpKey::try_from(text.to_owned()).is_err());
    assert_eq!(
        own.all_events(raid)
            .await
            .expect("the ledger")
            .last()
            .map(|event| event.seq),
        Some(Seq(2))
    );
}

async fn assert_all_fields_accept_hostile_text(database: TestDatabase) {
    let settings = [
        ("TELEMETRY__LOG", "debug"),
        ("TELEMETRY__LOG_FORMAT", "human"),
    ];
    let server = database.start_with(&settings).await;
    for text in HOSTILE_TEXTS {
        assert_round_trips(&database, &server, text).await;
    }
    for text in REFUSED_NAMES {
        assert_name_refused(&server, text).await;
    }
    for text in CONTROL_CHARACTER_TEXTS {
        assert_refused(&server, text).await;
    }
    let mut socket = TestSocket::connect(server.target(), Codec::Json).await;
    socket
        .send(ClientMessage::Hello {
            token: "no.such.token".to_owned(),
            client: Some("a\nERROR forged line".to_owned()),
        })
        .await;
    socket.wait_for_close().await;
    let log = server.logs();
    for line in log.lines() {
        assert!(
            !line.starts_with("ERROR forged") && !line.contains('\u{1b}'),
            "{line}"
        );
    }
    assert!(!log.contains("the store"), "no statement failed:\n{log}");
}

#[tokio::test]
async fn hostile_texts_round_trip_and_control_characters_fail_on_sqlite() {
    with_timeout(async {
        assert_all_fields_accept_hostile_text(TestDatabase::sqlite().await).await
    })
    .await;
}

#[tokio::test]
async fn hostile_texts_round_trip_and_control_characters_fail_on_postgres() {
    with_timeout(async {
        assert_all_fields_accept_hostile_text(TestDatabase::postgres().await).await
    })
    .await;
}
