//! Which definitions are in force for an event.

use crate::definitions::Definitions;
use crate::progression::{DefinitionsHistory, DefinitionsNumber};

fn counting(casual_xp_per_day: u64) -> Definitions {
    let mut definitions = Definitions::built_in();
    definitions.casual_xp_per_day = casual_xp_per_day;
    definitions
}

#[test]
fn an_event_has_the_definitions_of_its_number() {
    let mut history = DefinitionsHistory::new(counting(1));
    assert_eq!(history.newest_number(), DefinitionsNumber::FIRST);
    for casual in [2, 3] {
        history.push(counting(casual));
    }
    let of = |number| {
        history
            .in_force_at(DefinitionsNumber(number))
            .casual_xp_per_day
    };
    assert_eq!([1, 2, 3].map(of), [1, 2, 3]);
    assert_eq!(of(4), 3, "the newest ones, beyond what is known");
    assert_eq!(history.newest().casual_xp_per_day, 3);
    assert_eq!(history.newest_number(), DefinitionsNumber(3));
}
