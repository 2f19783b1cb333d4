//! Judges what a player was told of a raid of which the player never was a member: nothing but that
//! there is no such raid.

use raidhall_protocol::{ErrorType, ServerMessage};

use super::violation::{Violation, ViolationKind};
use crate::client::CloseClass;
use crate::client_log::{ClientLog, Observation};

/// Returns a violation for each message and response that tells the outsider of the raid.
pub fn check_outsider(log: &ClientLog) -> Vec<Violation> {
    let kinds = log
        .entries()
        .iter()
        .filter_map(|entry| find_violation(&entry.observation));
    let violation = |kind| Violation::of(log, kind);
    kinds.map(violation).collect()
}

fn find_violation(observation: &Observation) -> Option<ViolationKind> {
    let told = |what: String| Some(ViolationKind::ToldOutsider { what });
    match observation {
        Observation::Received(message) => match &**message {
            ServerMessage::Error { re, error, .. } => {
                // A sender of signals is no member of a raid that does not exist, either.
                let denial = if re == "signal" {
                    ErrorType::NotMember
                } else {
                    ErrorType::NotFound
                };
                if error.retry || error.r#type == denial {
                    return None;
                }
                told(format!("{} to a {re}", error.r#type.as_str()))
            }
            message => told(message.t().to_owned()),
        },
        Observation::RequestFailed {
            request,
            refusal: Some(error),
        } if !error.retry && error.r#type != ErrorType::NotFound => {
            told(format!("{} to {request}", error.r#type.as_str()))
        }
        Observation::RequestAnswered { request } => told((*request).to_owned()),
        Observation::Unreadable { text, .. } => {
            Some(ViolationKind::UnknownMessage { text: text.clone() })
        }
        Observation::Disconnected { code: Some(code) }
            if CloseClass::from_code(Some(*code)) == CloseClass::Stop =>
        {
            Some(ViolationKind::ClosedPermanently { code: *code })
        }
        _ => None,
    }
}
