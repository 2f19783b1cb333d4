//! Leadership, and when it moves.

use super::check;

#[test]
fn when_the_leader_leaves_the_longest_standing_online_member_leads() {
    check(
        ". ada create
         . ben join
         . cal join
         . dot join
         online ada cal dot
         ada leave
         show raid leader term members
         show cal role",
        "ada member_left player=ada reason=left released=[]
         ada leader_changed player=cal previous=ada reason=left term=2
         raid leader=cal term=2 members=ben,cal,dot
         cal role=leader",
    );
}

#[test]
fn the_longest_standing_member_leads_if_no_other_is_online() {
    check(
        ". ada create
         . ben join
         . cal join
         . ben leave
         . ben join
         online ada
         ada leave",
        "ada member_left player=ada reason=left released=[]
         ada leader_changed player=cal previous=ada reason=left term=2",
    );
}

#[test]
fn a_plain_member_who_leaves_does_not_change_the_leader() {
    check(
        ". ada create\n. ben join\nben leave",
        "ben member_left player=ben reason=left released=[]",
    );
}

#[test]
fn the_leader_promotes_a_member() {
    check(
        ". ada create
         . ben join
         ben promote player=ben
         ben promote player=ada
         ada promote player=ada
         ada promote player=cal
         ada promote player=ben
         show raid leader term
         show ada role
         show ben role
         ada start
         ben start",
        "!invalid player
         !not_leader
         !invalid player
         !not_member
         ada leader_changed player=ben previous=ada reason=promoted term=2
         raid leader=ben term=2
         ada role=member
         ben role=leader
         !not_leader
         ben raid_started deadline=86400000",
    );
}

#[test]
fn each_leader_change_increments_the_term() {
    check(
        ". ada create
         . ben join
         . ada promote player=ben
         . ben promote player=ada
         . ada start
         . ada promote player=ben
         . ben leave
         show raid leader term",
        "raid leader=ada term=5",
    );
}

#[test]
fn an_offline_leader_is_replaced_by_the_longest_standing_online_member() {
    check(
        ". ada create
         . ben join
         . cal join
         . dot join
         online cal dot
         clock leader_offline
         show raid leader term members
         show ada role",
        "- leader_changed player=cal previous=ada reason=leader_offline term=2
         raid leader=cal term=2 members=ada,ben,cal,dot
         ada role=member",
    );
}

#[test]
fn a_leader_stays_if_online_or_if_no_member_is_online() {
    check(
        ". ada create
         . ben join
         clock leader_offline
         online ada ben
         clock leader_offline
         online ada
         clock leader_offline
         online eve
         clock leader_offline
         show raid leader term",
        "nothing\nnothing\nnothing\nnothing\nraid leader=ada term=1",
    );
}

#[test]
fn an_abandoned_raid_gets_no_leader() {
    check(
        ". ada create\n. ada leave\nonline ben\nclock leader_offline",
        "nothing",
    );
}
