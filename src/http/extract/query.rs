//! The query string of a request, and the paging parameters that all lists share.

use std::collections::{HashMap, HashSet};

use axum::extract::{FromRequestParts, Query as Pairs};
use axum::http::request::Parts;
use data_encoding::BASE64URL_NOPAD;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{FieldFault, PlayerId, RaidId, Seq};

use crate::http::error_response::ErrorResponse;

const ROWS_DEFAULT: u32 = 20;
const ROWS_MAX: u32 = 100;
const SEQ_END: u64 = 1 << 53;

/// The parameters of a query string. The reading methods record faults and return `None` or a
/// default; [`Query::finish`] reports all faults.
pub(crate) struct Query {
    pairs: HashMap<String, String>,
    faults: Vec<FieldFault>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query, ErrorResponse> {
        let malformed = |_| ErrorResponse::malformed("The query string cannot be read");
        let Pairs(pairs) = Pairs::from_request_parts(parts, state)
            .await
            .map_err(malformed)?;
        Ok(Query {
            pairs,
            faults: Vec::new(),
        })
    }
}

impl Query {
    /// Reads `limit`, the number of rows to return; 20 by default.
    pub(in crate::http) fn limit(&mut self) -> u32 {
        let read = |text: &str| {
            text.parse()
                .ok()
                .filter(|rows| (1..=ROWS_MAX).contains(rows))
        };
        self.read("limit", "must be a whole number from 1 to 100", read)
            .unwrap_or(ROWS_DEFAULT)
    }

    /// Reads `after`, the seq after which a page begins; 0 by default.
    pub(in crate::http) fn after(&mut self) -> Seq {
        self.seq("after").unwrap_or(Seq::ZERO)
    }

    /// Reads a seq; 0 is allowed.
    pub(crate) fn seq(&mut self, name: &str) -> Option<Seq> {
        self.read(
            name,
            "must be a seq: a whole number from 0 to 2^53 - 1",
            parse_seq,
        )
    }

    /// Reads the id of a raid or a player.
    pub(in crate::http) fn id<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        self.read(
            name,
            "must be an id: a whole number from 1 to 2^53 - 1",
            parse_id,
        )
    }

    /// Reads `ids`, a list of ids of players. It is required.
    pub(in crate::http) fn ids(&mut self) -> Vec<PlayerId> {
        let read = |text: &str| {
            let ids: Vec<PlayerId> = text.split(',').map(parse_id).collect::<Option<_>>()?;
            let distinct: HashSet<_> = ids.iter().collect();
            (distinct.len() == ids.len() && ids.len() <= ROWS_MAX as usize).then_some(ids)
        };
        self.pairs.entry("ids".to_owned()).or_default();
        let fault = "must be 1 to 100 ids between commas, each once";
        self.read("ids", fault, read).unwrap_or_default()
    }

    /// Reads a flag, written as `true` or `false`.
    pub(in crate::http) fn flag(&mut self, name: &str) -> Option<bool> {
        self.read(name, "must be true or false", |text| text.parse().ok())
    }

    /// Reads a text without control characters.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let read = |text: &str| (!text.chars().any(char::is_control)).then(|| text.to_owned());
        self.read(name, "must not hold control characters", read)
    }

    /// Reads `status`, by which raids are filtered.
    pub(in crate::http) fn status(&mut self) -> Option<RaidStatus> {
        let read = |text: &str| {
            RaidStatus::ALL
                .into_iter()
                .find(|status| status.as_str() == text)
        };
        self.read(
            "status",
            "must be recruiting, active, completed or failed",
            read,
        )
    }

    /// Reads `cursor`, the id of the last raid of the page before.
    pub(in crate::http) fn cursor(&mut self) -> Option<RaidId> {
        self.read(
            "cursor",
            "must be a next_cursor that was given out",
            |text| {
                let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
                RaidId::try_from(u64::from_be_bytes(bytes.try_into().ok()?)).ok()
            },
        )
    }

    /// Fails with all faults that were recorded, if there are any.
    pub(crate) fn finish(self) -> Result<(), ErrorResponse> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(ErrorResponse::invalid(self.faults))
        }
    }

    /// Reads a parameter; a text from which nothing is read is a fault.
    pub(in crate::http) fn read<T>(
        &mut self,
        name: &str,
        fault: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.pairs.get(name)?;
        let value = read(text);
        if value.is_none() {
            self.faults.push(FieldFault::new(name, fault));
        }
        value
    }
}

fn parse_id<T: TryFrom<u64>>(text: &str) -> Option<T> {
    T::try_from(text.parse().ok()?).ok()
}

/// Parses a seq from decimal digits; `None` if it is 2^53 or more.
pub(crate) fn parse_seq(text: &str) -> Option<Seq> {
    text.parse().ok().filter(|seq| *seq < SEQ_END).map(Seq)
}

/// Encodes the cursor of the page that follows `last`.
pub(in crate::http) fn encode_raid_cursor(last: RaidId) -> String {
    BASE64URL_NOPAD.encode(&last.get().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Query {
            pairs,
            faults: Vec::new(),
        }
    }

    #[test]
    fn absent_query_parameters_have_defaults() {
        let mut query = query(&[("unknown", "x")]);
        let read = (query.limit(), query.after(), query.status(), query.cursor());
        assert_eq!(read, (20, Seq::ZERO, None, None));
        assert!(query.finish().is_ok());
    }

    #[test]
    fn a_page_cursor_survives_a_round_trip_as_text() {
        let raid = RaidId::try_from(123_456_u64).expect("an id");
        let mut query = query(&[
            ("cursor", &encode_raid_cursor(raid)),
            ("status", "active"),
            ("after", "7"),
            ("limit", "100"),
        ]);
        let read = (query.cursor(), query.status(), query.after(), query.limit());
        assert_eq!(read, (Some(raid), Some(RaidStatus::Active), Seq(7), 100));
        assert!(query.finish().is_ok());
    }

    #[test]
    fn a_list_of_ids_has_one_to_a_hundred_different_ones() {
        let read = |text: &str| {
            let mut query = query(&[("ids", text)]);
            let ids: Vec<_> = query.ids().into_iter().map(u64::from).collect();
            query.finish().is_ok().then_some(ids)
        };
        let numbers = |end: u64| (1..=end).map(|id| id.to_string()).collect::<Vec<_>>();
        assert_eq!(read("7"), Some(vec![7]));
        assert_eq!(read("7,5,6"), Some(vec![7, 5, 6]));
        assert_eq!(
            read(&numbers(100).join(",")).map(|ids| ids.len()),
            Some(100)
        );
        let too_many = numbers(101).join(",");
        for faulty in ["", ",", "7,", "7,7", "0", "x", "1.5", "-1", &too_many] {
            assert_eq!(read(faulty), None, "{faulty:?}");
        }
        let mut without = query(&[]);
        assert_eq!(without.ids(), []);
        assert_eq!(without.faults[0].field, "ids");
    }

    #[test]
    fn every_faulty_query_parameter_is_named() {
        for (limit, after, cursor) in [
            ("", "", ""),
            ("0", "-1", "7"),
            ("101", "9007199254740992", "AAAAAAAAAAA"),
            ("x", "1.5", "é"),
        ] {
            let mut query = query(&[
                ("limit", limit),
                ("after", after),
                ("cursor", cursor),
                ("status", "won"),
            ]);
            let _ = (query.limit(), query.after(), query.cursor(), query.status());
            let named: Vec<&str> = query
                .faults
                .iter()
                .map(|fault| fault.field.as_str())
                .collect();
            assert_eq!(named, ["limit", "after", "cursor", "status"]);
        }
    }
}
