#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::disk::identity::Formation;

fn formed(folder: &Path) -> Layout {
    let layout = Layout::new(folder).unwrap();
    let mut identity = Identity::open(&layout, "test", "controller-1", 1).unwrap();
    let members = [("controller-1".to_owned(), identity.incarnation)].into();
    identity.formation = Some(Formation { members, restored: None });
    identity.save(&layout).unwrap();
    layout
}

fn backup_of(replica: &Path, place: &Path) -> Result<backup::Summary, backup::Error> {
    backup::from_folder(replica, Entries::All, &place.join("backup"), place, 1)
}

#[test]
fn an_inspection_says_at_which_term_the_log_ends_also_when_only_a_snapshot_is_left() {
    let temporary = tempfile::tempdir().unwrap();
    let replica = temporary.path().join("replica");
    recover::found(&formed(&replica), &recover::Options::of_copy()).unwrap();
    let log = folder(&replica, temporary.path()).unwrap().log.unwrap();
    assert_eq!(log, Span { first: 2, last: 1, last_term: 1, bytes: 0 });
    assert!(serde_json::to_string(&log).unwrap().contains("\"lastTerm\":1"));
}

#[test]
fn a_folder_in_repair_says_what_it_lost_and_is_not_backed_up() {
    let temporary = tempfile::tempdir().unwrap();
    let replica = temporary.path().join("replica");
    let layout = formed(&replica);
    recover::found(&layout, &recover::Options::of_copy()).unwrap();
    assert!(backup_of(&replica, temporary.path()).is_ok());
    std::fs::remove_file(temporary.path().join("backup")).unwrap();

    let last = Position { term: 3, index: 9 };
    Note::new("a bit flipped".to_owned(), &HardState::default(), last).save(&layout).unwrap();
    let found = folder(&replica, temporary.path()).unwrap();
    assert_eq!(found.problems, ["in repair: a bit flipped; lost up to index 9 of term 3"]);
    let refused = backup_of(&replica, temporary.path()).unwrap_err().to_string();
    for words in [replica.to_str().unwrap(), "is in repair", "index 9 of term 3", "a bit flipped"] {
        assert!(refused.contains(words), "no '{words}' in: {refused}");
    }
    assert!(contents(&replica, temporary.path()).is_err());
}

#[test]
fn a_replica_that_joined_and_got_no_snapshot_yet_has_no_state_to_back_up() {
    let temporary = tempfile::tempdir().unwrap();
    let replica = temporary.path().join("replica");
    recover::join(&formed(&replica), &recover::Options::of_copy()).unwrap();
    let found = folder(&replica, temporary.path()).unwrap();
    assert_eq!((found.state, found.problems), (None, Vec::new()));
    let refused = backup_of(&replica, temporary.path()).unwrap_err();
    assert!(matches!(refused, backup::Error::NoState { .. }), "{refused}");
}
