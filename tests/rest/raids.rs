//! Tests of the routes for raids: creating, joining, commands, the ledger and lists.

use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

#[tokio::test(start_paused = true)]
async fn the_creator_of_a_raid_leads_it() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let answer = server
        .post(
            "/raids",
            &token,
            json!({"title": " Ship it ", "target_xp": 100, "target_tasks": 2}),
        )
        .await;
    let location = answer.headers["location"]
        .to_str()
        .expect("text")
        .to_owned();
    let raid = answer.expect_data(201);
    assert_eq!(location, format!("/api/v1/raids/{}", raid["id"]));
    assert_eq!(
        (&raid["title"], &raid["status"], &raid["seq"]),
        (&json!("Ship it"), &json!("recruiting"), &json!(2))
    );
    assert_eq!(
        (&raid["leader"], &raid["online"]),
        (&ada["player"]["id"], &json!([]))
    );
    assert_eq!(raid["ws_url"], "ws://127.0.0.1:8080/api/v1/ws");
    assert_eq!(
        (&raid["max_members"], &raid["time_limit_secs"]),
        (&json!(4), &json!(86_400))
    );
    assert_eq!(
        server
            .get(&format!("/raids/{}", raid["id"]), &token)
            .await
            .expect_data(200),
        raid
    );
}

#[tokio::test(start_paused = true)]
async fn every_faulty_request_field_is_named_at_once() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    assert_eq!(
        server
            .post("/raids", &token, json!({}))
            .await
            .invalid_fields(),
        ["title", "target_xp", "target_tasks"]
    );
    let silly = json!({"title": "", "target_xp": 0, "target_tasks": -1, "max_members": 1, "time_limit_secs": 5});
    let mut faulty = server.post("/raids", &token, silly).await.invalid_fields();
    faulty.sort();
    assert_eq!(
        faulty,
        [
            "max_members",
            "target_tasks",
            "target_xp",
            "time_limit_secs",
            "title"
        ]
    );
    let raid = server.create_raid(&token).await;
    let answer = server
        .post(
            &format!("/raids/{}/commands", raid["id"]),
            &token,
            json!({"op": "!"}),
        )
        .await;
    assert_eq!(answer.invalid_fields(), ["op", "cmd"]);
    server
        .send_command(&raid["id"], &token, json!({"type": "fly"}))
        .await
        .expect_error("invalid");
}

#[tokio::test(start_paused = true)]
async fn creating_a_raid_twice_with_one_key_creates_it_once() {
    let server = RestServer::start().await;
    let ada = server.guest_token("Ada").await;
    let bob = server.guest_token("Bob").await;
    let new = || json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    let key = [("idempotency-key", "k1")];
    let first = server
        .request("POST /raids", &ada, &key, new())
        .await
        .expect_data(201);
    let again = server
        .request("POST /raids", &ada, &key, new())
        .await
        .expect_data(201);
    assert_eq!(first, again);
    let others = server
        .request("POST /raids", &bob, &key, new())
        .await
        .expect_data(201);
    assert_ne!(first["id"], others["id"], "a key is scoped to its subject");
    let bad = server
        .request("POST /raids", &ada, &[("idempotency-key", "a b")], new())
        .await;
    assert_eq!(bad.invalid_fields(), ["Idempotency-Key"]);
}

#[tokio::test(start_paused = true)]
async fn an_invite_code_gives_a_non_member_access_to_the_raid() {
    let server = RestServer::start().await;
    let ada = server.guest_token("Ada").await;
    let bob = server.guest_token("Bob").await;
    let raid = server.create_raid(&ada).await;
    let path = format!("/raids/{}", raid["id"]);
    for suffix in ["", "/events", "/contributions"] {
        server
            .get(&format!("{path}{suffix}"), &bob)
            .await
            .expect_error("not_found");
    }
    for nobodys in ["\u{0}", "K7MQ2XNB\u{0}", "’", "' OR 1=1"] {
        server
            .post(
                "/raids/join",
                &server.guest_token("Cal").await,
                json!({"invite_code": nobodys}),
            )
            .await
            .expect_error("not_found");
    }
    let code =
        json!({"invite_code": format!(" {} ", json_text(&raid["invite_code"]).to_lowercase())});
    let joined = server
        .post("/raids/join", &bob, code.clone())
        .await
        .expect_data(200);
    assert_eq!(joined["members"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        server
            .post("/raids/join", &bob, code)
            .await
            .expect_data(200),
        joined,
        "joining again changes nothing"
    );
    assert_eq!(server.get(&path, &bob).await.expect_data(200), joined);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_or_malformed_raid_id_is_not_found() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    for id in [
        "1",
        "0",
        "-1",
        "abc",
        "1.0",
        "9007199254740992",
        "99999999999999999999",
        "%FF",
        "%00",
    ] {
        server
            .get(&format!("/raids/{id}"), &token)
            .await
            .expect_error("not_found");
        let start = json!({"cmd": {"type": "start"}});
        server
            .post(&format!("/raids/{id}/commands"), &token, start)
            .await
            .expect_error("not_found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_takes_effect_once_with_its_op_in_header_or_body() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    let raid = server.create_raid(&token).await;
    let route = format!("POST /raids/{}/commands", raid["id"]);
    let cmd = json!({"type": "say", "text": "on it"});
    let header = [("idempotency-key", "op-1")];
    let first = server
        .request(&route, &token, &header, json!({"cmd": cmd}))
        .await
        .expect_data(200);
    assert_eq!(first, json!({"seq": 3, "duplicate": false}));
    let again = server
        .request(&route, &token, &[], json!({"op": "op-1", "cmd": cmd}))
        .await
        .expect_data(200);
    assert_eq!(again, json!({"seq": 3, "duplicate": true}));
    let other = [("idempotency-key", "op-2")];
    let both = server
        .request(&route, &token, &other, json!({"op": "op-1", "cmd": cmd}))
        .await
        .expect_data(200);
    assert_eq!(
        both,
        json!({"seq": 3, "duplicate": true}),
        "the op in the body wins"
    );
    let refused = server
        .send_command(
            &raid["id"],
            &token,
            json!({"type": "claim_task", "task": 1}),
        )
        .await;
    refused.expect_error("wrong_status");
}

#[tokio::test(start_paused = true)]
async fn the_ledger_is_read_in_pages_by_seq() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    let raid = server.create_raid(&token).await;
    for n in 3..=7 {
        let said = server
            .send_command(
                &raid["id"],
                &token,
                json!({"type": "say", "text": format!("{n}")}),
            )
            .await;
        assert_eq!(said.expect_data(200)["seq"], n);
    }
    let path = format!("/raids/{}/events", raid["id"]);
    let seqs = |rows: &Value| {
        rows.as_array()
            .expect("rows")
            .iter()
            .map(|row| row["seq"].clone())
            .collect::<Value>()
    };
    let all = server.get(&path, &token).await.expect_data(200);
    assert_eq!(seqs(&all), json!([1, 2, 3, 4, 5, 6, 7]));
    let keys: Vec<&String> = all[0].as_object().expect("a map").keys().collect();
    assert_eq!(
        (keys, &all[0]["type"]),
        (
            vec![
                &"at".into(),
                &"by".into(),
                &"data".into(),
                &"seq".into(),
                &"type".into()
            ],
            &json!("raid_created")
        )
    );
    assert_eq!(
        seqs(
            &server
                .get(&format!("{path}?after=3&limit=2"), &token)
                .await
                .expect_data(200)
        ),
        json!([4, 5])
    );
    assert_eq!(
        seqs(
            &server
                .get(&format!("{path}?after=7"), &token)
                .await
                .expect_data(200)
        ),
        json!([])
    );
    assert_eq!(
        server
            .get(&format!("{path}?after=x&limit=101"), &token)
            .await
            .invalid_fields(),
        ["after", "limit"]
    );
}

#[tokio::test(start_paused = true)]
async fn own_raids_are_listed_newest_first_in_pages() {
    let server = RestServer::start().await;
    let ada = server.guest_token("Ada").await;
    let bob = server.guest_token("Bob").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, server.create_raid(&ada).await["id"].clone());
    }
    server
        .send_command(&made[1], &ada, json!({"type": "start"}))
        .await
        .expect_data(200);
    let ids = |page: &Value| {
        page["data"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["id"].clone())
            .collect::<Vec<_>>()
    };
    let mut listed = Vec::new();
    let mut path = "/raids?limit=2".to_owned();
    for left in [true, true, false] {
        let page = server.get(&path, &ada).await.body;
        listed.extend(ids(&page));
        assert_eq!(page["next_cursor"].is_string(), left);
        path = format!(
            "/raids?limit=2&cursor={}",
            page["next_cursor"].as_str().unwrap_or_default()
        );
    }
    assert_eq!(listed, made);
    let active = server.get("/raids?status=active", &ada).await.body;
    assert_eq!(ids(&active), [made[1].clone()]);
    let row = active["data"][0].as_object().expect("a row");
    let keys: Vec<&str> = row.keys().map(String::as_str).collect();
    let expected = [
        "created_at",
        "current_tasks",
        "current_xp",
        "deadline",
        "ended_at",
        "id",
        "invite_code",
        "member_count",
        "members",
        "seq",
        "status",
        "target_tasks",
        "target_xp",
        "time_limit_secs",
        "title",
    ];
    assert_eq!((keys, &row["seq"]), (expected.to_vec(), &json!(3)));
    let shown = server
        .get(&format!("/raids/{}", made[1]), &ada)
        .await
        .expect_data(200);
    assert_eq!(row["invite_code"], shown["invite_code"]);
    assert_eq!(
        server.get("/raids", &bob).await.body,
        json!({"data": [], "next_cursor": null})
    );
    let bad = server.get("/raids?status=won&limit=0&cursor=x", &ada).await;
    assert_eq!(bad.invalid_fields(), ["status", "limit", "cursor"]);
}

#[tokio::test(start_paused = true)]
async fn a_listed_raid_names_its_first_five_members_and_counts_all() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "max_members": 10});
    let raid = server.post("/raids", &token, new).await.expect_data(201);
    let code = json!({"invite_code": raid["invite_code"]});
    let mut guests = Vec::new();
    for name in ["Zoe", "Ben", "Cal", "Dan", "Eve", "Fay"] {
        let guest = server.guest_token(name).await;
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        server
            .post("/raids/join", &guest, code.clone())
            .await
            .expect_data(200);
        guests.push(guest);
    }
    let listed = async || {
        let page = server.get("/raids", &token).await;
        let raid = page.body["data"][0].clone();
        let members = raid["members"].as_array().expect("members").clone();
        let names: Vec<_> = members
            .iter()
            .map(|member| json_text(&member["name"]))
            .collect();
        (names.join(" "), raid["member_count"].clone())
    };
    assert_eq!(listed().await, ("Ada Zoe Ben Cal Dan".to_owned(), json!(7)));
    server
        .send_command(&raid["id"], &guests[1], json!({"type": "leave"}))
        .await
        .expect_data(200);
    server
        .request("DELETE /me", &guests[2], &[], Value::Null)
        .await
        .expect_data(202);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(listed().await, ("Ada Zoe Dan Eve Fay".to_owned(), json!(5)));
}
