//! Judges the answers to a client's requests by REST.

use raidhall_protocol::{ErrorBody, ErrorType};

use super::LogReader;
use crate::client_log::{ReadAnswer, RestRead};
use crate::judge::violation::ViolationKind;

impl LogReader<'_> {
    pub(super) fn on_request_failed(&mut self, request: &'static str, refusal: Option<&ErrorBody>) {
        let Some(error) = refusal.filter(|error| !error.retry) else {
            // The player may have joined.
            self.former_member_since = None;
            return;
        };
        let is_justified = match error.r#type {
            ErrorType::RaidClosed => self.facts.has_ended,
            ErrorType::Forbidden => self.facts.is_removed(self.log.player),
            // The player tries again, with the new code, and may have joined: the code may have been
            // replaced, or the player kicked, between an attempt and its answer.
            ErrorType::NotFound
                if self.facts.has_new_invite_code || self.facts.is_removed(self.log.player) =>
            {
                self.former_member_since = None;
                return;
            }
            _ => false,
        };
        self.summary.has_given_up = is_justified;
        if !is_justified {
            let error = error.r#type.as_str();
            self.report(ViolationKind::RequestRefused { request, error });
        }
    }

    pub(super) fn on_read(&mut self, read: &RestRead) {
        let has_left = self
            .former_member_since
            .is_some_and(|since| since <= read.sent);
        let was_member = self.member_since <= read.sent;
        match &read.result {
            Ok(ReadAnswer::RaidList(raids)) if !raids.contains(&self.log.raid) => {
                self.check_membership("missing in the list of raids", was_member);
            }
            Ok(_) if has_left => {
                let what = "a read by REST".to_owned();
                self.report(ViolationKind::ToldOutsider { what });
            }
            Ok(ReadAnswer::Created(raid)) if *raid != self.log.raid => {
                self.report(ViolationKind::CreatedTwice { other: *raid });
            }
            Ok(_) => {}
            Err(error) if error.retry => {}
            Err(error) if error.r#type == ErrorType::NotFound => {
                self.check_membership("not_found to a read", was_member);
            }
            Err(error) => self.report(ViolationKind::RequestRefused {
                request: "a read",
                error: error.r#type.as_str(),
            }),
        }
    }
}
