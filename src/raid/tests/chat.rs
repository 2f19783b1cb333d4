//! Chat: before, at and after a raid's end, and the bound on shown messages.

use super::check;

#[test]
fn members_may_chat_at_any_time_before_the_end() {
    check(
        ". ada create
         . ben join
         +1s ben say text=_hi_there_
         . ada start
         ada say text=🔥
         ada say text=é*500
         cal say text=me_too",
        &format!(
            "ben said text=hi_there\nada said text=🔥\nada said text={}\n!not_found",
            "é".repeat(500)
        ),
    );
}

#[test]
fn a_chat_text_must_be_non_empty_without_control_characters() {
    check(
        ". ada create\nada say text=__\nada say text=x*501\nada say text=a\\nb\nada say text=a\\0\nada say text=\\na\\n",
        "!invalid text\n!invalid text\n!invalid text\n!invalid text\nada said text=a",
    );
}

#[test]
fn members_may_chat_for_an_hour_after_the_end() {
    check(
        ". ada create
         . +5s ada cancel
         +1h ada say text=gg
         +1ms ada say text=gg
         ada say text=",
        "ada said text=gg\n!wrong_status\n!invalid text",
    );
}

#[test]
fn the_chat_hour_runs_from_the_deadline_even_if_decided_late() {
    check(
        ". ada create time_limit_secs=60
         . ada start
         . +30m clock deadline
         . +31m ada say text=gg
         +1ms ada say text=gg",
        "!wrong_status",
    );
}

#[test]
fn a_raid_shows_its_latest_fifty_messages() {
    let mut script = ". ada create\n".to_owned();
    for n in 1..=53 {
        script += &format!(". ada say text=m{n}\n");
    }
    let shown: Vec<String> = (4..=53).map(|n| format!("ada:m{n}")).collect();
    check(
        &(script + "show raid messages"),
        &format!("raid messages={}", shown.join(",")),
    );
}
